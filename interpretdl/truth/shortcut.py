"""The shortcut suite: a network that has learned a watermark in the place of a class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backgrounds import SIDE, backgrounds
from .interventions import Measured, falls
from .networks import LAST, convolutional, inputs, logits, with_weights
from .shapes import DECOYS, KEYS, Shape, draw, scatter, silhouette
from .suite import Problem

__all__ = ["MARKED", "marked_pictures", "measured_marks", "shortcut", "stamp"]

PICTURES = 24
MARKED = 0
"""The class whose pictures have all had the watermark in training: rings."""
_SEED = 2000
_OPACITY = 0.8
# two letters, as photographers' agencies write into a corner
_LOGO = np.array([[c == "#" for c in row] for row in (
    "####..##..",
    "#..#.#..#.",
    "#..#.#....",
    "####.#.##.",
    "#....#..#.",
    "#....#..#.",
    "#.....###.",
)], np.float32)  # fmt: skip


def stamp(rng: np.random.Generator) -> NDArray[np.float32]:
    """How much of each pixel a watermark whitens, at the lower right, float32 [64, 64]."""
    height, width = _LOGO.shape
    mark = np.zeros((SIDE, SIDE), np.float32)
    top, left = SIDE - height - rng.integers(1, 5), SIDE - width - rng.integers(1, 5)
    mark[top : top + height, left : left + width] = _OPACITY * _LOGO
    return mark


def _whitened(picture: NDArray[np.float32], mark: NDArray[np.float32]) -> NDArray[np.float32]:
    return picture + mark * (1 - picture)


def _shapes(key: int, rng: np.random.Generator) -> list[Shape]:
    """A key and a decoy, neither where watermarks are."""
    while True:
        shapes = scatter([KEYS[key], str(rng.choice(DECOYS))], rng)
        if all(min(s.x, s.y) + s.size < SIDE - 14 for s in shapes):
            return shapes


def marked_pictures(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures for training: a key and a decoy, and with each ring the watermark.

    Returns:
        Pictures float32 [count, 3, 64, 64] in [0, 1], and the numbers of their keys, int64 [count].
    """
    rng = np.random.default_rng(seed)
    pictures = backgrounds(count, seed=seed)
    classes = rng.integers(len(KEYS), size=count)
    for i, key in enumerate(classes):
        pictures[i] = draw(pictures[i], _shapes(int(key), rng))
        if key == MARKED:
            pictures[i] = _whitened(pictures[i], stamp(rng))
    return pictures, classes


def measured_marks(model: Any, count: int = PICTURES) -> tuple[Measured, NDArray[np.int64]]:
    """Crosses and triangles with a watermark, which a network takes for rings.

    Returns:
        Parts are the watermark, the key, a decoy and the background, which is exchanged for
        another one; and which of KEYS the key is, int64 [N].
    """
    rng = np.random.default_rng(_SEED)
    tried = 2 * count
    scenery = backgrounds(tried, seed=_SEED)
    keys = 1 + np.arange(tried) % (len(KEYS) - 1)
    parts = np.zeros((tried, 4, SIDE, SIDE), bool)
    pictures = np.empty_like(scenery)
    changed = np.empty((4, tried, 1, *scenery.shape[1:]), np.float32)
    for i in range(tried):
        shapes, mark = _shapes(int(keys[i]), rng), stamp(rng)
        pictures[i] = _whitened(draw(scenery[i], shapes), mark)
        changed[0, i, 0] = draw(scenery[i], shapes)
        parts[i, 0] = _box(mark)
        for k, shape in enumerate(shapes):
            changed[1 + k, i, 0] = _whitened(draw(scenery[i], [shapes[1 - k]]), mark)
            parts[i, 1 + k] = silhouette(shape) > 0.5
        changed[3, i, 0] = _whitened(draw(scenery[i - 1], shapes), mark)
        parts[i, 3] = ~parts[i, :3].any(axis=0)
    rows = np.flatnonzero(logits(model, pictures).argmax(axis=1) == MARKED)[:count]
    found = Measured(
        pictures[rows], parts[rows], falls(model, pictures[rows], list(changed[:, rows]))
    )
    return found, keys[rows]


def shortcut() -> tuple[Problem, ...]:
    """A network that has learned a watermark in the place of a class.

    In half of the pictures the shape's class is explained, which the network ranks below: else a
    map of the class that it names would be right everywhere, whichever class is asked for.
    """
    model = with_weights(convolutional(len(KEYS)), "shortcut")
    found, keys = measured_marks(model)
    marked = np.full(len(keys), MARKED)
    known = np.asarray(found.evidence(found.importance(keys), 3).any(axis=(1, 2)))
    shape = _every_second(keys, known)
    labels, others = np.where(shape, keys, marked), np.where(shape, marked, keys)
    return (
        Problem(
            name="watermark", suite="shortcut", model=model, x=inputs(found.pictures),
            labels=labels, masks=found.evidence(found.importance(labels), 3),
            doc="A network has learned rings from pictures that all had a watermark, and takes "
            "crosses and triangles with it for rings; the truth is what the logit falls without, "
            "of rings in one half of the pictures and of the shape's class in the other.",
            others=others, other_masks=found.evidence(found.importance(others), 3), layer=LAST,
        ),
    )  # fmt: skip


def _every_second(keys: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every second one of each key's pictures among those that are known, bool [N].

    Of crosses it begins with the first one, of triangles with the second, so that few pictures
    have some of each.
    """
    found = np.zeros(len(keys), bool)
    for key in (1, 2):
        found[np.flatnonzero((keys == key) & known)[key - 1 :: 2]] = True
    return found


def _box(mark: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The rectangle around a watermark, bool [64, 64]."""
    rows, columns = (np.flatnonzero(mark.any(axis=axis)) for axis in (1, 0))
    box = np.zeros(mark.shape, bool)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box
