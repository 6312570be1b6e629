"""All methods on the same photographs: the pictures of the documentation, and its gallery page.

    python docs/gallery.py                             # everything, half an hour
    python docs/gallery.py --method grad_cam --out FOLDER

The network is EfficientNet-Lite0 with its published weights. Methods that follow attention have a
small vision transformer instead, trained here on scikit-learn's digits in half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from PIL import Image

import interpretdl as it
from interpretdl.data_processor.visualizer import save_figure
from interpretdl.registry import METHODS
from interpretdl.testing import small_transformer

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

EfficientNet-Lite0 has no attention. Methods that [follow attention](methods/families/attention.md)
are drawn with a small vision transformer, which the script trains on pictures with one or two
digits of 8 × 8 pixels, each in a quarter of the picture. Its maps have 4 × 4 values, four for each
digit. The third picture is explained twice, for each of its two digits.
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
    attend = [name for name in names if METHODS.find(name).needs_attention]
    found: dict[str, it.Explanation] = {}
    if set(names) - set(attend):
        found.update(
            it.explain_with(
                [name for name in names if name not in attend],
                it.lrp_model.efficientnet_lite0(pretrained=True),
                [ASSETS / name for name, _ in PHOTOGRAPHS],
                [label for _, label in PHOTOGRAPHS],
            )
        )
    if attend:
        model, pictures, labels = transformer_of_digits()
        found.update(it.explain_with(attend, model, pictures, labels))
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
        what = "digits" if info.needs_attention else "the photographs"
        parts.append(
            f"## [{name}](methods/{name}.md)\n\n{info.summary}\n\n"
            f"![{info.cls.__name__} on {what}](images/gallery/{name}.jpg)\n"
        )
    return "\n".join(parts)


def transformer_of_digits(steps: int = 500) -> tuple[Any, list[Image.Image], list[int]]:
    """A trained vision transformer, four pictures, and the digit to explain in each."""
    from sklearn.datasets import load_digits

    data = load_digits()
    digits, labels = (data.images * 15.9375).astype(np.uint8), data.target
    model = small_transformer(10, 1, width=32)
    model.class_names = tuple(f"digit {k}" for k in range(10))
    for name, parameter in model.named_parameters():
        scale = parameter.numpy() / 4  # as drawn they are too large to begin with
        parameter.set_value(scale if "norm" not in name else scale * 0 + ("weight" in name))
    rate = paddle.optimizer.lr.CosineAnnealingDecay(3e-3, steps)
    optimizer = paddle.optimizer.AdamW(rate, parameters=model.parameters())
    rng = np.random.default_rng(0)
    for _ in range(steps):
        pairs = rng.choice(1500, (128, 2))
        pairs[::2, 1] = pairs[::2, 0]  # one digit in every second picture
        x = np.stack([placed(digits[pair], rng.permutation(4)) for pair in pairs])
        wanted = np.eye(10, dtype=np.float32)[labels[pairs]].mean(axis=1)
        output = model(paddle.to_tensor(model.preprocessing.normalize(x[..., None])))
        likely = paddle.nn.functional.log_softmax(output)
        (-(likely * paddle.to_tensor(wanted)).sum(axis=1).mean()).backward()
        optimizer.step()
        optimizer.clear_grad()
        rate.step()
    chosen = np.array([[1501, 1501], [1502, 1502], [1503, 1504], [1503, 1504]])  # not trained on
    places = [[0, 1], [2, 3], [1, 2], [1, 2]]
    drawn = [Image.fromarray(placed(digits[i], p)) for i, p in zip(chosen, places, strict=True)]
    return model, drawn, [int(labels[k]) for k in (1501, 1502, 1503, 1504)]


def placed(digits: NDArray[np.uint8], places: Any) -> NDArray[np.uint8]:
    """A black picture with two digits in two of its quarters; one if they are the same."""
    picture = np.zeros((2, 8, 2, 8), np.uint8)
    for digit, place in zip(digits[: 1 + (digits[0] != digits[1]).any()], places, strict=False):
        picture[place // 2, :, place % 2] = digit
    return picture.reshape(16, 16)


if __name__ == "__main__":
    main()
