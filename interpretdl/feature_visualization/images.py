"""Pictures written as a spectrum, random views of them, and how flat they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray

from ..preprocessing import Preprocessing
from ..probe import Tensor
from ..tensors import from_numpy

__all__ = ["Fourier", "Views", "total_variation"]

# Square root of the colours' covariance over ImageNet, columns by size (Olah et al. 2017,
# https://distill.pub/2017/feature-visualization).
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOURS /= np.linalg.norm(_COLOURS, axis=0).max()

# To the pixel below and to the one on the right. The backward pass of paddle.diff, and of slices,
# takes several times as long.
_STEPS = np.array([[[[-1, 0], [1, 0]]], [[[-1, 1], [0, 0]]]])


class Fourier:
    """A spectrum, so that large structures are as easy to change as small ones.

    Numbers are [n, 2, C, H, W // 2 + 1], real and imaginary. Each frequency is divided by its
    length. Three channels are decorrelated colours. A sigmoid keeps pixels in (0, 1).

    Args:
        size: height and width.
        preprocessing: from pixels in [0, 1] to the network's input.
    """

    def __init__(self, size: tuple[int, int], preprocessing: Preprocessing) -> None:
        height, width = size
        self.size = size
        channels = preprocessing.channels
        self.shape = (2, channels, height, width // 2 + 1)
        length = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
        self._scale = 1 / (4 * np.maximum(length, 1 / max(height, width)))
        self._colours = _COLOURS if channels == 3 else np.eye(channels)
        self._mean = np.reshape(preprocessing.mean, (-1, 1, 1))
        self._std = np.reshape(preprocessing.std, (-1, 1, 1))

    def start(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Numbers of a nearly grey picture."""
        return rng.normal(0, 0.01, (count, *self.shape))

    def pixels(self, numbers: Tensor) -> Tensor:
        """Pixels [n, C, H, W] in (0, 1)."""
        scaled = numbers * _like(self._scale, numbers)
        spectrum = paddle.complex(*scaled.unbind(1))
        planes = paddle.fft.irfft2(spectrum, s=self.size, norm="ortho")
        mixed = _like(self._colours, planes) @ planes.flatten(2)
        return F.sigmoid(mixed.reshape(planes.shape))

    def __call__(self, numbers: Tensor) -> Tensor:
        """The network's input [n, C, H, W]."""
        pixels = self.pixels(numbers)
        return (pixels - _like(self._mean, pixels)) / _like(self._std, pixels)


class Views:
    """Random small shifts, sizes and turns of a canvas, cut to the size of the network's input.

    A feature that lives only at one place and angle is noise to the eye; what survives these is
    seen by the network from everywhere. At size s, k pixels of the canvas are k·s of the view. The
    canvas is larger than a view, and the picture is its middle (Olah et al. 2017).

    Args:
        size: height and width of a view.
        border: value of each channel around the canvas, [C].
        padding: how many pixels wider than a view the canvas is on each side. None takes as many as
            the views need, so that each of their pixels lies on the canvas.
        jitter: largest shift in pixels of the canvas.
        scales: smallest and largest size.
        angle: largest turn in degrees.

    Attributes:
        padding: as given, or found.
        canvas: height and width of the canvas.
    """

    def __init__(
        self,
        size: tuple[int, int],
        border: NDArray[Any],
        *,
        padding: int | None = None,
        jitter: int = 8,
        scales: tuple[float, float] = (0.9, 1.1),
        angle: float = 10,
    ) -> None:
        self.size, self.jitter = size, jitter
        self.scales, self.angle = scales, angle
        self.padding = self._needed() if padding is None else padding
        self.canvas = (size[0] + 2 * self.padding, size[1] + 2 * self.padding)
        self._border = np.reshape(border, (-1, 1, 1))

    def _needed(self) -> int:
        """How far a corner of the smallest and most shifted view lies beyond the picture."""
        halves = (np.array(self.size) - 1) / 2  # from the centre to the outermost pixels' centres
        # a corner is farthest out along an axis when the diagonal has turned into that axis
        turns = np.minimum(np.deg2rad(self.angle), np.arctan2(halves[::-1], halves))
        reach = halves * np.cos(turns) + halves[::-1] * np.sin(turns)
        beyond = reach / self.scales[0] + self.jitter - halves
        return max(0, int(np.ceil(beyond.max() - 1e-9)))

    def middle(self, x: Tensor) -> Tensor:
        """The picture [n, C, H, W] of canvases."""
        (height, width), first = self.size, self.padding
        return x[:, :, first : first + height, first : first + width]

    def draw(self, rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
        """A view at random: a map from canvases [n, C, …] to views [n, C, H, W], bilinear."""
        height, width = self.size
        tall, wide = self.canvas
        turn = np.deg2rad(rng.uniform(-self.angle, self.angle))
        zoom = rng.uniform(*self.scales)
        down, right = rng.integers(-self.jitter, self.jitter + 1, 2)
        cos, sin = np.cos(turn) / zoom, np.sin(turn) / zoom
        # from x and y of the view to those of the canvas, each -1 to 1 from edge to edge
        matrix = np.array(
            [
                [cos * width / wide, sin * height / wide, 2 * right / wide],
                [-sin * width / tall, cos * height / tall, 2 * down / tall],
            ]
        )

        def view(x: Tensor) -> Tensor:
            border = _like(self._border, x)
            one = F.affine_grid(_like(matrix[None], x), [1, 1, height, width], align_corners=False)
            grid = one.expand([len(x), height, width, 2])
            # grid_sample reads 0 outside
            return F.grid_sample(x - border, grid, align_corners=False) + border

        return view


def total_variation(x: Tensor) -> Tensor:
    """Mean over pixels of the distance to those below and to the right, [n] of x [n, C, H, W]."""
    n, channels, height, width = x.shape
    padded = F.pad(x, [0, 1, 0, 1], mode="replicate").reshape([-1, 1, height + 1, width + 1])
    squares = F.conv2d(padded, _like(_STEPS, x)).square()
    # over the channels together, rounded off at 0 where it has no gradient
    lengths = paddle.sqrt(squares.reshape([n, 2 * channels, height, width]).sum(axis=1) + 1e-8)
    return lengths.mean(axis=[1, 2])


def _like(values: NDArray[Any], x: Tensor) -> Tensor:
    """A constant of x's dtype and on its device."""
    return from_numpy(values, x.place, x.dtype)
