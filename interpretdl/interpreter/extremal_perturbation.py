"""Extremal perturbation: the part of a given area that keeps the score highest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ..data_processor.blur import blurred
from ..errors import InputError
from ..perturbation import Fill, Imputer
from ..probe import Probe
from ..progress import progress_bar
from ..registry import register
from ..targets import TargetLike, settled, take
from .base import Array, Attribution, Interpreter
from .sampling import counts

__all__ = [
    "ExtremalPerturbationInterpreter",
    "SmoothMasks",
    "area_slope",
    "extremal_masks",
]

Gradient = Callable[[Array, bool], Array]
"""From masks [m, H, W], and whether to mirror, to the gradient of what is to be high by them."""

# As in the paper: at 224 pixels a grid of step 7, kernels of σ = 21, blur up to σ = 20.
_POINTS, _WIDTH, _REACH = 32, 3, 2
_COLDNESS = 20
_LEVELS, _BLUR, _LEAST_BLUR = 8, 20 / 224, 3
_RATE, _MOMENTUM = 0.01, 0.9
_WEIGHT, _GROWTH = 300.0, 1.0035
_TIE = 1e-6
# Not as published for "delete": where all is taken out gradients say nothing of the image, and the
# masks found from there do not lower the score.
_BEGIN = {"preserve": 1.0, "delete": 0.25}


@register(
    "extremal_perturbation",
    layout="n1hw",
    signed=False,
    one_pass=True,
    paper="Fong, Patrick, Vedaldi: Understanding Deep Networks via Extremal Perturbations and "
    "Smooth Masks, 2019",
    url="https://arxiv.org/abs/1910.08485",
)
class ExtremalPerturbationInterpreter(Interpreter):
    """Extremal perturbation: the smooth mask of a given area through which the score is highest.

        m_a = argmax over m of  f(m · x + (1 − m) · b) − λ mean((sort(m) − r_a)²)

    b is the blurred image, and r_a has the share a of ones and zeros else, so that the last term
    holds the mask's area as λ grows. m is a smooth maximum of kernels around the points of a grid,
    too wide to draw patterns that the network would take for an object. The map is the mean of the
    masks of several areas. It shows what is enough for the score, not how much each part adds, and
    of two parts that are each enough it may find one. The mask is found by the score's gradient.
    Slow: costs a forward and a backward pass for each step and area, 2400 as published.
    """

    def attribute(
        self,
        x: Array,
        target: TargetLike,
        *,
        areas: float | Sequence[float] = (0.05, 0.1, 0.2),
        steps: int = 800,
        variant: Literal["preserve", "delete"] = "preserve",
        fill: Fill | None = None,
        mirror: bool = True,
    ) -> Attribution:
        """The mean of the masks of several areas.

        Args:
            areas: the masks' areas, shares of the image between 0 and 1.
            steps: of the search for the masks; after few they are larger than their areas.
            variant: "preserve", the mask is kept and the score is to be high; "delete", the mask is
                taken out and the score is to be low.
            fill: what stands where the image is taken out: None, the image under a Gaussian, the
                wider the less is kept, in 8 levels, as published; or what other methods have (not
                "inpaint" and "road"): "mean", the image's mean of each channel; "blur"; "black"; a
                number or an array, of the network's inputs; or another picture, uint8 [H, W, C].
            mirror: look at the image and the mask mirrored in every other step, as published; for
                networks to which left and right are not alike give False.

        Returns:
            float [N, 1, H, W] in [0, 1]. Diagnostics "evaluations" [N]; "masks" [N, areas, H, W]
            and the score under each, "scores" [N, areas].

        Raises:
            InputError: areas that are not between 0 and 1, or a fill that does not fit.
        """
        counts(steps=steps)
        shares = _shares(areas)
        base = None if fill is None else Imputer(x, fill, self.preprocessing).base
        if fill is not None and base is None:
            raise InputError(f"fill={fill!r} fills no part of a pixel; give another fill")
        smooth = SmoothMasks(x.shape[2], x.shape[3])
        outputs = self.probe.logits(x)
        target = settled(target, outputs)
        masks = np.empty((len(x), len(shares), *x.shape[2:]), np.float32)
        scores = np.empty((len(x), len(shares)))
        total = len(x) * steps
        bar: Any
        with (
            self.probe.many(total * len(shares), gradient=True),
            progress_bar(total, self.info.name, "step") as bar,
        ):
            for i, image in enumerate(x):
                levels = _blurred(image) if base is None else np.stack([base[i], image])
                own = take(target, np.full(len(shares), i))
                gradient = _MaskGradient(self.probe, _Blend(levels, variant), own, bar)
                found = extremal_masks(smooth, shares, gradient, steps, mirror, _BEGIN[variant])
                masks[i] = found
                scores[i] = self.probe.scores(gradient.blend(found)[0], own)
        each = (steps + 1) * len(shares) + 1
        diagnostics = {"evaluations": np.full(len(x), each), "scores": scores, "masks": masks}
        return Attribution(masks.mean(axis=1, keepdims=True), diagnostics, outputs=outputs)


def extremal_masks(
    smooth: SmoothMasks,
    areas: Array,
    gradient: Gradient,
    steps: int,
    mirror: bool = True,
    begin: float = 1,
) -> Array:
    """Masks of given areas through which a score is highest.

    Args:
        smooth: from parameters to masks.
        areas: [m], shares of the image.
        gradient: of the score by the masks.
        steps: how many.
        mirror: ask for the gradient with the mirrored image in every other step.
        begin: the masks at first.

    Returns:
        float32 [m, H, W].
    """
    points = np.full((len(areas), smooth.points), begin, np.float32)
    speed, weight = np.zeros_like(points), _WEIGHT
    for step in range(steps):
        masks, back = smooth(points)
        uphill = gradient(masks, mirror and step % 2 == 0)
        slope = back(uphill - weight * area_slope(masks, areas))
        speed = np.asarray(_MOMENTUM * speed + (1 - _MOMENTUM) * slope)
        points = np.clip(points + _RATE * speed, 0, 1)
        weight *= _GROWTH
    return smooth(points)[0]


def area_slope(masks: Array, areas: Array) -> Array:
    """The gradient of mean((sort(m) − r_a)²) by each mask, [m, H, W].

    r_a has the share a of ones and zeros else. Pixels that are tied at the border between the two,
    such as all in the beginning, share the ones that are left.
    """
    flat = masks.reshape(len(masks), -1)
    n = flat.shape[1]
    wanted = np.empty_like(flat)
    for mask, area, ones in zip(flat, areas, wanted, strict=True):
        k = max(1, round(area * n))
        edge = np.partition(mask, n - k)[n - k]
        ones[:] = mask > edge + _TIE
        tied = np.abs(mask - edge) <= _TIE
        ones[tied] = (k - ones.sum()) / tied.sum()
    return np.asarray(2 / n * (flat - wanted)).reshape(masks.shape)


class SmoothMasks:
    """Masks that are smooth maxima of kernels around points of a grid.

        m(u) = Σ_v g_v exp(β g_v) / Σ_v exp(β g_v),    g_v = p_v exp(−2 max(0, |u − v| / σ − ½)²)

    It is computed at the grid's points and enlarged bilinearly, which differs little, as σ is three
    steps of the grid. β = 20. Kernels of less than 1 % are left out. Past the edges the points are
    mirrored, so that equal points give an equal mask, and edges are neither sought nor avoided.

    Args:
        height, width: of the masks.

    Attributes:
        points: how many parameters p, in [0, 1], a mask has.
    """

    def __init__(self, height: int, width: int) -> None:
        # Of very long images the grid is coarser.
        step = max(min(height, width) / _POINTS, math.sqrt(height * width) / (2 * _POINTS))
        rows, columns = (max(1, round(n / step)) for n in (height, width))
        self._enlarge = _bilinear(rows, height), _bilinear(columns, width)
        self.points = rows * columns
        reach = _REACH * _WIDTH
        offsets = np.arange(-reach, reach + 1)
        distance = np.hypot(offsets[:, None], offsets) / _WIDTH
        near = distance <= _REACH
        kernel = np.exp(-2 * np.maximum(0, distance[near] - 0.5) ** 2)
        self._kernel = kernel.astype(np.float32)
        numbers = np.pad(np.arange(self.points).reshape(rows, columns), reach, mode="symmetric")
        around = np.lib.stride_tricks.sliding_window_view(numbers, near.shape)
        self._near = around[:, :, near].reshape(self.points, -1)

    def __call__(self, p: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Masks [m, H, W] of parameters [m, points], and what takes a gradient by the masks to one
        by the parameters."""
        parts = np.take(p, self._near, axis=1)
        parts *= self._kernel
        weights = np.exp(_COLDNESS * parts)
        total = weights.sum(axis=2)
        coarse = np.einsum("mvk,mvk->mv", weights, parts) / total
        rows, columns = self._enlarge
        shape = len(p), rows.shape[1], columns.shape[1]

        def back(gradient: Array) -> Array:
            of_coarse = (rows.T @ (gradient @ columns)).reshape(len(p), -1) / total
            slopes = parts - coarse[:, :, None]
            slopes *= _COLDNESS
            slopes += 1
            slopes *= weights
            slopes *= self._kernel
            slopes *= of_coarse[:, :, None]
            near = self._near.ravel()
            found = [np.bincount(near, one.ravel(), self.points) for one in slopes]
            return np.asarray(found, p.dtype)

        return rows @ (coarse.reshape(shape) @ columns.T), back


def _bilinear(points: int, n: int) -> Array:
    """The matrix [n, points] from the middles of so many equal parts of a line to its n pixels."""
    place = ((np.arange(n) + 0.5) * points / n - 0.5).clip(0, points - 1)
    matrix = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(points)))
    return np.asarray(matrix, np.float32)


class _Blend:
    """An image kept in part.

    Args:
        levels: [levels, C, H, W], of which more and more is kept; the last is all of the image.
        variant: see `ExtremalPerturbationInterpreter.attribute`.
    """

    def __init__(self, levels: Array, variant: Literal["preserve", "delete"]) -> None:
        self.delete = variant == "delete"
        self._low, self._rise = levels[:-1], np.diff(levels, axis=0)
        self._places = np.ogrid[tuple(slice(n) for n in levels.shape[1:])]

    def __call__(self, masks: Array) -> tuple[Array, Array]:
        """Images [m, C, H, W] under masks [m, H, W], and their slope by what is kept."""
        steps = len(self._low)
        keep = (1 - masks if self.delete else masks)[:, None] * steps
        level = np.clip(keep.astype(np.int64), 0, steps - 1)
        rise = self._rise[(level, *self._places)]
        part = (keep - level).astype(rise.dtype)
        return self._low[(level, *self._places)] + part * rise, steps * rise


class _MaskGradient:
    """The gradient by masks of an image's score, or of its negative for "delete"."""

    def __init__(self, probe: Probe, blend: _Blend, target: TargetLike, bar: Any) -> None:
        self._probe, self.blend, self._target, self._bar = probe, blend, target, bar

    def __call__(self, masks: Array, mirrored: bool) -> Array:
        shown, slope = self.blend(masks)
        if mirrored:
            shown = np.ascontiguousarray(shown[..., ::-1])
        found = self._probe.gradients(shown, self._target).input
        self._bar.update(1)
        found = found[..., ::-1] if mirrored else found
        # For "delete" two signs cancel: the mask is taken out, and the score is to be low.
        return np.asarray(np.einsum("mchw,mchw->mhw", found, slope, dtype=np.float64))


def _blurred(image: Array) -> Array:
    """The image [C, H, W] with less and less blur, [levels, C, H, W]; the last is the image."""
    widest = max(_LEAST_BLUR, _BLUR * min(image.shape[1:]))
    sigmas = widest * (1 - np.arange(_LEVELS - 1) / (_LEVELS - 1))
    return np.stack([*(blurred(image, sigma) for sigma in sigmas), image])


def _shares(areas: float | Sequence[float]) -> Array:
    shares = np.atleast_1d(np.asarray(areas, np.float64))
    if shares.ndim != 1 or not shares.size or not ((shares > 0) & (shares < 1)).all():
        raise InputError(f"areas must be between 0 and 1; got {areas!r}")
    return shares
