"""All methods on the same photographs: the pictures of the documentation, and its gallery page.

    python docs/gallery.py                             # everything, some minutes
    python docs/gallery.py --method grad_cam --out FOLDER

The network is EfficientNet-Lite0 with its published weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import interpretdl as it
from interpretdl.data_processor.visualizer import save_figure
from interpretdl.registry import METHODS

DOCS = Path(__file__).resolve().parent
ASSETS = DOCS.parent / "assets"
PHOTOGRAPHS = (
    ("chelsea.png", "tiger cat"),
    ("coffee.png", "espresso"),
    ("collage.png", "tiger cat"),
    ("collage.png", "espresso"),
)
STRIP = (
    *("grad_cam", "score_cam", "guided_grad_cam", "lrp", "integrated_gradients"),
    *("smooth_grad", "deep_lift"),
)

HEAD = """# Gallery

Every method on the same photographs, with EfficientNet-Lite0 and its options as they are by
default. The third photograph is explained twice: for "tiger cat", on its left, and for "espresso",
on its right. A map that is the same both times says nothing about the class.
[Which method](which_method.md) to take, and what the maps cannot tell, is another page.
`python docs/gallery.py` makes this one.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--method", action="append", help="only this one; may be repeated")
    parser.add_argument("--out", type=Path, default=DOCS, help="in place of docs/")
    given = parser.parse_args()
    names = [METHODS.find(name).name for name in given.method or METHODS.all()]
    folder = given.out / "images" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    found = it.explain_with(
        names,
        it.lrp_model.efficientnet_lite0(pretrained=True),
        [ASSETS / name for name, _ in PHOTOGRAPHS],
        [label for _, label in PHOTOGRAPHS],
    )
    for name, explanation in found.items():
        save_figure(explanation.plot(), folder / f"{name}.jpg", dpi=72)
    strip = [found[name][0] for name in STRIP if name in found]
    if strip:
        figure = it.grid(strip, columns=len(strip) + 1)
        save_figure(figure, folder / "strip.jpg", dpi=56)
    (given.out / "gallery.md").write_text(page(names), encoding="utf-8")


def page(names: list[str]) -> str:
    """The gallery in Markdown."""
    parts = [HEAD]
    for name in names:
        info = METHODS.find(name)
        parts.append(
            f"## [{name}](methods/{name}.md)\n\n{info.summary}\n\n"
            f"![{info.cls.__name__} on the photographs](images/gallery/{name}.jpg)\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    main()
