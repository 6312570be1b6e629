"""Occlusion: what the score loses under a sliding window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..perturbation import FROM_AROUND, Fill, Imputer
from ..progress import progress_bar
from ..registry import register
from ..targets import TargetLike, scores_of, settled, take
from .base import Array, Attribution, Interpreter
from .sampling import counts

__all__ = ["OcclusionInterpreter"]

_WINDOWS_ACROSS = 7


@register(
    "occlusion",
    layout="nchw",
    signed=True,
    one_pass=True,
    inputs=("pictures", "arrays", "text"),
    paper="Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2014",
    url="https://arxiv.org/abs/1311.2901",
)
class OcclusionInterpreter(Interpreter):
    """Occlusion: what the score loses, on average, under the windows that cover a pixel.

        D_w = f(x) − f(x without window w),        R_i = mean of D_w over the windows w on pixel i

    A window is slid over the input and filled with a baseline. What can be seen depends on its
    size: a part much smaller than the window is smeared over it, and of an object much larger the
    window hides too little for the score to fall. What two places say alike is lost by neither.
    Costs a forward pass for each window.
    """

    reads_ids = True
    positional = (
        "sliding_window_shapes",
        "label",
        "strides",
        "baselines",
        "perturbations_per_eval",
    )

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        sliding_window_shapes: Sequence[int] | None = None,
        strides: int | Sequence[int] | None = None,
        baselines: Fill | None = None,
        perturbations_per_eval: int | None = 1,
    ) -> Attribution:
        """Mean loss of the score under the windows on each pixel.

        Args:
            sliding_window_shapes: the window's size along each axis of an item, (C, h, w) for
                pictures; one of fewer channels than the picture slides over the channels too. None:
                for [C, H, W] a square of all channels, a seventh of the short edge wide; for other
                inputs each number by itself.
            strides: how far the window moves, for each axis or one number for all. Windows start at
                0, s, 2s and so on, the last is cut off by the edge. None: 1 where
                sliding_window_shapes is given, else half a window.
            baselines: what stands in the window: None, 0 (the network's input, for most models
                about the mean colour); "mean", the image's mean of each channel; "blur"; "inpaint"
                and "road" (slow); "black"; a number or an array, of the network's inputs; or
                another picture, uint8 [H, W, C].
            perturbations_per_eval: at most so many images in one run of the model. None or 1: as
                many as pay and fit in memory. The values do not depend on it.

        Returns:
            float [N, C, H, W], the input's shape. Diagnostics "evaluations" [N]; where windows do
            not overlap "efficiency_error" [N], |Σ_w D_w − (f(x) − f(b))| / |f(x) − f(b)|, where b
            is the baseline.

        Raises:
            InputError: a window larger than the input, strides that leave out pixels, or baselines
                that do not fit.
        """
        most = 1 if perturbations_per_eval is None else perturbations_per_eval
        counts(perturbations_per_eval=most)
        windows = _Windows(x.shape[1:], sliding_window_shapes, strides)
        around = isinstance(baselines, str) and baselines in FROM_AROUND
        if around and not windows.whole_channels:
            raise InputError(
                f"baselines={baselines!r} fills all channels at once; give windows of all "
                "channels, or another baseline"
            )
        preprocessing = self.preprocessing if x.ndim == 4 else None
        blank = 0.0 if self._blank is None else self._blank
        imputer = Imputer(x, blank if baselines is None else baselines, preprocessing)
        each = windows.count + 1 + windows.disjoint
        total, done = len(x) * windows.count, 0
        losses = np.empty(total)
        bar: Any
        with (
            self.probe.many(len(x) * each),
            progress_bar(total, self.info.name, "window") as bar,
        ):
            outputs = self.probe.logits(x)
            target = settled(target, outputs)
            whole = scores_of(target, outputs)
            while done < total:
                planned = self.probe.batch_plan(x, gradient=False)
                size = min(most, planned) if most > 1 else planned
                rows = np.arange(done, min(total, done + size))
                owner = rows // windows.count
                images = imputer.images(owner, windows.outside(rows % windows.count))
                losses[rows] = whole[owner] - self.probe.scores(images, take(target, owner))
                done += len(rows)
                bar.update(len(rows))
            diagnostics: dict[str, Any] = {"evaluations": np.full(len(x), each)}
            if windows.disjoint:
                gains = whole - self.probe.scores(imputer.nothing(), target)
                sums = losses.reshape(len(x), -1).sum(axis=1)
                size_of = np.where(gains == 0, 1, np.abs(gains))
                diagnostics["efficiency_error"] = np.abs(sums - gains) / size_of
        values = windows.means(losses.reshape(len(x), -1)).astype(np.float32)
        return Attribution(values, diagnostics, outputs=outputs)


class _Windows:
    """Places of a window that slides over an item.

    Args:
        shape: the item's.
        size, strides: see `OcclusionInterpreter.attribute`.

    Attributes:
        count: how many places there are.
        disjoint: whether no two overlap.
        whole_channels: whether the window is as long as the first axis.

    Raises:
        InputError: a size or strides that do not fit.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        size: Sequence[int] | None,
        strides: int | Sequence[int] | None,
    ) -> None:
        given = size is not None
        size = _default_size(shape) if size is None else _each(size, shape, "sliding_window_shapes")
        if strides is None:
            strides = 1 if given else [max(1, w // 2) for w in size]
        if isinstance(strides, int | np.integer):
            strides = [int(strides)] * len(shape)
        steps = _each(strides, shape, "strides")
        for n, w, s in zip(shape, size, steps, strict=True):
            if w > n:
                raise InputError(
                    f"a window of {list(size)} does not fit into an input of {list(shape)}; give "
                    "smaller sliding_window_shapes"
                )
            if s > w and w < n:
                raise InputError(
                    f"strides of {list(steps)} leave numbers between windows of {list(size)} out; "
                    "give strides no larger than the windows"
                )
        self._shape = shape
        self._places = tuple(
            1 + math.ceil((n - w) / s) for n, w, s in zip(shape, size, steps, strict=True)
        )
        self._inside = [
            _covered(n, w, s, k)
            for n, w, s, k in zip(shape, size, steps, self._places, strict=True)
        ]
        self.count = math.prod(self._places)
        self.disjoint = all(inside.sum(axis=0).max() == 1 for inside in self._inside)
        self.whole_channels = size[0] == shape[0]

    def outside(self, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """What windows leave, [m, ...], axes that they cover have length 1."""
        inside = np.ones((len(numbers), *[1] * len(self._shape)), bool)
        places = np.unravel_index(numbers, self._places)
        for axis, (covered, place) in enumerate(zip(self._inside, places, strict=True)):
            inside = inside & np.expand_dims(
                covered[place], [k + 1 for k in range(len(self._shape)) if k != axis]
            )
        return ~inside

    def means(self, losses: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over the windows on each number: losses [N, count] to [N, ...]."""
        # Which windows cover a number is a product over the axes, and so is how many.
        values = losses.reshape(-1, *self._places)
        for axis, covered in enumerate(self._inside, start=1):
            shares = covered / covered.sum(axis=0)
            values = np.moveaxis(np.tensordot(values, shares, (axis, 0)), -1, axis)
        return np.broadcast_to(values, (len(values), *self._shape))


def _covered(n: int, width: int, stride: int, places: int) -> NDArray[np.bool_]:
    """Which numbers along an axis each window covers, [places, n]; [1, 1] where one covers all."""
    if width == n:
        return np.ones((1, 1), bool)
    first = stride * np.arange(places)[:, None]
    position = np.arange(n)
    return np.asarray((position >= first) & (position < first + width))


def _default_size(shape: tuple[int, ...]) -> Sequence[int]:
    if len(shape) != 3:
        return [1] * len(shape)
    edge = max(1, round(min(shape[1:]) / _WINDOWS_ACROSS))
    return [shape[0], edge, edge]


def _each(given: Sequence[int], shape: tuple[int, ...], name: str) -> Sequence[int]:
    """A whole number from 1 for each axis."""
    if len(given) != len(shape):
        raise InputError(
            f"{name} must have a number for each axis of an input of {list(shape)}, "
            f"{len(shape)} in all; got {list(given)}"
        )
    for number in given:
        counts(**{name: number})
    return [int(number) for number in given]
