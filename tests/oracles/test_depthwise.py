"""The gradient of depthwise convolutions, which are not run as Paddle runs them, by plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from interpretdl.probe import Probe
from interpretdl.probe.operations import quickened

Array = Any


def back(gradient: Array, weight: Array, size: Any, strides: Any, above: int, left: int) -> Array:
    """What every output position sends to every input position, one product at a time."""
    n, channels, height, width = gradient.shape
    found = np.zeros((n, channels, *size))
    for row in range(height):
        for column in range(width):
            for i in range(weight.shape[2]):
                for j in range(weight.shape[3]):
                    y, x = row * strides[0] + i - above, column * strides[1] + j - left
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        found[:, :, y, x] += gradient[:, :, row, column] * weight[:, 0, i, j]
    return found


@pytest.mark.parametrize("size", [(7, 7), (3, 3), (3, 31), (8, 9), (12, 10)])
@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "above_left"),
    [
        (3, 1, 1, (1, 1)),
        (3, 1, 0, (0, 0)),
        (3, 1, 2, (2, 2)),
        (3, 1, 3, (3, 3)),
        (3, 1, "SAME", (1, 1)),
        (3, 1, "VALID", (0, 0)),
        (3, 1, [0, 2, 1, 0], (0, 1)),
        (3, 2, 1, (1, 1)),
        (5, 1, 2, (2, 2)),
        (5, 2, [1, 2, 1, 2], (1, 1)),
        ((1, 3), (1, 2), (0, 1), (0, 1)),
    ],
)
def test_the_gradient_by_plain_loops(
    size: tuple[int, int], kernel: Any, strides: Any, padding: Any, above_left: tuple[int, int]
) -> None:
    layer = nn.Conv2D(4, 4, kernel, strides, padding, groups=4)
    layer.weight.stop_gradient = layer.bias.stop_gradient = True
    rng = np.random.default_rng(0)
    x = paddle.to_tensor(rng.normal(size=(2, 4, *size)).astype(np.float32), stop_gradient=False)
    shown = rng.normal(size=layer(x).shape).astype(np.float32)
    plain = layer(x)
    with quickened():
        y = layer(x)
        (found,) = paddle.grad(y, x, paddle.to_tensor(shown), retain_graph=True)
        (again,) = paddle.grad(y, x, paddle.to_tensor(2 * shown))
    np.testing.assert_allclose(y.numpy(), plain.numpy(), rtol=1e-4, atol=1e-5)
    pair = (strides, strides) if isinstance(strides, int) else strides
    expected = back(shown, layer.weight.numpy(), size, pair, *above_left)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(again.numpy(), 2 * expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Conv2D(4, 8, 3, padding=1, groups=4),
        lambda: nn.Conv2D(4, 4, 3, padding=2, dilation=2, groups=4),
        lambda: nn.Conv2D(4, 4, 3, padding=1, groups=4, padding_mode="reflect"),
        lambda: nn.Conv2D(4, 4, 3, padding=1, groups=2),
        lambda: nn.Conv2D(12, 12, 3, padding=1, groups=12, data_format="NHWC"),
    ],
    ids=["two filters", "dilation", "reflected", "two groups", "NHWC"],
)
@pytest.mark.parametrize("size", [6, 12])
def test_kinds_by_finite_differences(layer: Any, size: int) -> None:
    conv = layer()
    channels = 4 if conv._data_format == "NCHW" else size  # else the axis is another
    model = nn.Sequential(conv, nn.Flatten(), nn.Tanh())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, channels, size, 12 if channels == size else size)).astype(np.float32)
    weights = paddle.to_tensor(rng.normal(size=model(paddle.to_tensor(x)).shape).astype(np.float32))

    def target(output: Any) -> Any:
        return (output * weights).sum(axis=1)

    probe = Probe(model)
    found = probe.gradients(x, target).input
    for _ in range(3):
        way = rng.normal(size=x.shape).astype(np.float32)
        step = 1e-2
        up, down = (probe.scores(x + s * step * way, target)[0] for s in (1, -1))
        assert (up - down) / (2 * step) == pytest.approx((found * way).sum(), rel=2e-2, abs=2e-2)
