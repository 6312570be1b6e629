"""Builds collage.png: chelsea.png in the left half, coffee.png in the right half.

512 x 512 pixels, of which a short edge of 256 and a centre crop of 224 leave the middle 448: each
half keeps 224 x 448 pixels (112 x 224 for the network), its subject on a blurred copy of itself.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageFilter

HERE = Path(__file__).parent
SIDE, EDGE = 512, 32  # EDGE is what the centre crop cuts off on each side
SUBJECTS = {"chelsea.png": (25, 0, 360, 300), "coffee.png": (70, 10, 490, 400)}  # box of each


def main() -> None:
    collage = Image.new("RGB", (SIDE, SIDE))
    half = SIDE // 2
    for i, (name, box) in enumerate(SUBJECTS.items()):
        subject = Image.open(HERE / name).convert("RGB").crop(box)
        behind = subject.resize((half, SIDE)).filter(ImageFilter.GaussianBlur(24))
        width = half - EDGE
        height = round(width * subject.height / subject.width)
        subject = subject.resize((width, height), Image.Resampling.LANCZOS)
        behind.paste(subject, ((1 - i) * EDGE, (SIDE - height) // 2))
        collage.paste(behind, (i * half, 0))
    collage.save(HERE / "collage.png", optimize=True)


if __name__ == "__main__":
    main()
