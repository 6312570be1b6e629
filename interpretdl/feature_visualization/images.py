"""Ways to write a picture as numbers that are optimized, and random views of it.

All are maps with an exact adjoint in NumPy, so that only the network is differentiated by Paddle.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..preprocessing import Preprocessing
from ..probe import Probe, Tensor
from ..targets import Target

__all__ = ["Code", "Fourier", "Parametrization", "Pixels", "View", "Views", "total_variation"]

Floats = NDArray[np.float64]

# Square root of the colours' covariance over ImageNet, columns by size (Olah et al. 2017,
# https://distill.pub/2017/feature-visualization).
_COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLOURS /= np.linalg.norm(_COLOURS, axis=0).max()


class Parametrization(Protocol):
    """Numbers p and the network's input x(p)."""

    def inputs(self, numbers: Floats) -> NDArray[np.float32]:
        """x float32 [n, C, H, W] of p [n, ...]."""

    def adjoint(self, numbers: Floats, gradient: NDArray[Any]) -> Floats:
        """The gradient with respect to p from that with respect to x."""


class Pixels:
    """The input itself, float64 [n, C, H, W]."""

    def inputs(self, numbers: Floats) -> NDArray[np.float32]:
        return numbers.astype(np.float32)

    def adjoint(self, numbers: Floats, gradient: NDArray[Any]) -> Floats:
        return gradient.astype(np.float64)


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
        # columns of the half spectrum that stand for two of the whole one
        self._twice = np.full(width // 2 + 1, 2.0)
        self._twice[0] = 1
        if width % 2 == 0:
            self._twice[-1] = 1
        self._mean = np.reshape(preprocessing.mean, (1, -1, 1, 1))
        self._std = np.reshape(preprocessing.std, (1, -1, 1, 1))

    def start(self, count: int, rng: np.random.Generator) -> Floats:
        """Numbers of a nearly grey picture."""
        return rng.normal(0, 0.01, (count, *self.shape))

    def pixels(self, numbers: Floats) -> Floats:
        """Pixels [n, C, H, W] in (0, 1)."""
        spectrum = (numbers[:, 0] + 1j * numbers[:, 1]) * self._scale
        plane = np.fft.irfft2(spectrum, s=self.size, norm="ortho")
        mixed = np.einsum("ij,njhw->nihw", self._colours, plane)
        return np.asarray(1 / (1 + np.exp(-mixed)))

    def inputs(self, numbers: Floats) -> NDArray[np.float32]:
        x = (self.pixels(numbers) - self._mean) / self._std
        return np.asarray(x, np.float32)

    def adjoint(self, numbers: Floats, gradient: NDArray[Any]) -> Floats:
        pixels = self.pixels(numbers)
        mixed = gradient / self._std * pixels * (1 - pixels)
        plane = np.einsum("ij,nihw->njhw", self._colours, mixed)
        spectrum = np.fft.rfft2(plane, norm="ortho") * self._twice * self._scale
        return np.stack([spectrum.real, spectrum.imag], axis=1)


class _Products(Target):
    """For each image the sum of its output times given weights, whose gradient is wanted."""

    def __init__(self, weights: NDArray[Any]) -> None:
        self.weights = weights

    def take(self, indices: NDArray[np.int64]) -> _Products:
        return _Products(self.weights[indices])

    def __call__(self, output: Tensor) -> Tensor:
        import paddle

        weights = paddle.to_tensor(self.weights, dtype=output.dtype, place=output.place)
        return (output * weights).flatten(1).sum(axis=1)


class Code:
    """A code [n, d] from which a decoder paints the network's input.

    Args:
        decoder: runs the decoder, a model from [n, d] to [n, C, H, W].
    """

    def __init__(self, decoder: Probe) -> None:
        self.decoder = decoder

    def inputs(self, numbers: Floats) -> NDArray[np.float32]:
        return self.decoder.logits(numbers.astype(np.float32)).astype(np.float32)

    def adjoint(self, numbers: Floats, gradient: NDArray[Any]) -> Floats:
        codes = numbers.astype(np.float32)
        return self.decoder.gradients(codes, _Products(gradient)).input.astype(np.float64)


class View:
    """A linear map of pictures: each pixel is read between four others, or is the border's.

    Args:
        matrix: sparse [H W, H W].
        shape: H and W.
        border: value of each channel outside, [C, 1].
    """

    def __init__(self, matrix: Any, shape: tuple[int, int], border: Floats) -> None:
        self._matrix, self._shape = matrix, shape
        outside = 1 - np.asarray(matrix.sum(axis=1)).ravel()
        self._border = border * outside

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The view of each picture [n, C, H, W]."""
        n, channels = x.shape[:2]
        seen = (self._matrix @ x.reshape(n * channels, -1).T).T.reshape(n, channels, -1)
        return np.asarray((seen + self._border).reshape(x.shape), np.float32)

    def adjoint(self, gradient: NDArray[Any]) -> NDArray[np.float32]:
        """The gradient with respect to the pictures from that with respect to the views."""
        n, channels = gradient.shape[:2]
        back = (self._matrix.T @ gradient.reshape(n * channels, -1).T).T
        return np.asarray(back.reshape(gradient.shape), np.float32)


class Views:
    """Random small shifts, sizes and turns of pictures with a border around them.

    A feature that lives only at one place and angle is noise to the eye; what survives these is
    seen by the network from everywhere.

    Args:
        size: height and width.
        border: value of each channel around the picture, [C].
        padding: width of the border in pixels.
        jitter: largest shift in pixels.
        scales: smallest and largest size.
        angle: largest turn in degrees.
    """

    def __init__(
        self,
        size: tuple[int, int],
        border: NDArray[Any],
        *,
        padding: int = 12,
        jitter: int = 8,
        scales: tuple[float, float] = (0.9, 1.1),
        angle: float = 10,
    ) -> None:
        self.size, self.padding, self.jitter = size, padding, jitter
        self.scales, self.angle = scales, angle
        self._border = np.reshape(border, (-1, 1)).astype(np.float64)

    def draw(self, rng: np.random.Generator) -> View:
        """A view at random."""
        from scipy.sparse import csr_matrix

        height, width = self.size
        turn = np.deg2rad(rng.uniform(-self.angle, self.angle))
        zoom = rng.uniform(*self.scales)
        shift = rng.integers(-self.jitter, self.jitter + 1, 2)
        y, x = np.mgrid[:height, :width].astype(float)
        y = (y - (height - 1) / 2) * (1 + 2 * self.padding / height) / zoom
        x = (x - (width - 1) / 2) * (1 + 2 * self.padding / width) / zoom
        row = (np.cos(turn) * y - np.sin(turn) * x + (height - 1) / 2 + shift[0]).ravel()
        column = (np.sin(turn) * y + np.cos(turn) * x + (width - 1) / 2 + shift[1]).ravel()
        top, left = np.floor(row).astype(int), np.floor(column).astype(int)
        down, right = row - top, column - left
        pixel = np.arange(height * width)
        entries: list[tuple[Any, Any, Any]] = []
        for i, wy in ((top, 1 - down), (top + 1, down)):
            for j, wx in ((left, 1 - right), (left + 1, right)):
                inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
                entries.append(((wy * wx)[inside], pixel[inside], (i * width + j)[inside]))
        values, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
        matrix = csr_matrix((values, (rows, columns)), shape=(height * width,) * 2)
        return View(matrix, self.size, self._border)


def total_variation(x: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean over pixels of the distance to the pixels below and to the right, and its gradient.

    Args:
        x: [n, C, H, W].

    Returns:
        [n], and [n, C, H, W].
    """
    x = x.astype(np.float64)
    down = np.diff(x, axis=2, append=x[:, :, -1:])
    right = np.diff(x, axis=3, append=x[..., -1:])
    # over the channels together, rounded off at 0 where it has no gradient
    length = np.sqrt((down**2 + right**2).sum(axis=1, keepdims=True) + 1e-8)
    pixels = x.shape[2] * x.shape[3]
    down, right = down / (length * pixels), right / (length * pixels)
    gradient = -down - right
    gradient[:, :, 1:] += down[:, :, :-1]
    gradient[..., 1:] += right[..., :-1]
    return length.sum(axis=(1, 2, 3)) / pixels, gradient
