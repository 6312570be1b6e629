"""Small networks trained on scikit-learn's handwritten digits, for tests that need real ones.

    def test_something(digits_model):
        model, x, y = digits_model

Each is trained once; the weights are kept in `weights_folder`, under a name that changes with this
file's text and the model's.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Trained = tuple[Any, NDArray[np.float32], NDArray[np.int64]]

SIZE = 16  # the 8 x 8 digits, each pixel doubled
EPOCHS = 8
BATCH = 64
RATE = 0.01
HELD = 360  # digits that nothing is trained on


def digits_network() -> Any:
    """Four convolutions with batch-norm and ReLU, pooling, dense; input [N, 1, 16, 16]."""
    from paddle import nn

    from interpretdl import Preprocessing

    layers: list[Any] = []
    for i, (before, after) in enumerate([(1, 16), (16, 16), (16, 32), (32, 32)]):
        layers += [nn.Conv2D(before, after, 3, padding=1), nn.BatchNorm2D(after), nn.ReLU()]
        if i == 1:
            layers.append(nn.MaxPool2D(2))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(32, 10))
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:  # He's initialization; batch-norm and biases as they come
            fan = np.prod(parameter.shape[1:]) if parameter.ndim == 4 else parameter.shape[0]
            values = rng.normal(0, np.sqrt(2 / fan), parameter.shape)
            parameter.set_value(values.astype("float32"))
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
    model.class_names = tuple("0123456789")
    model.eval()  # returns nothing in Paddle 3.0
    return model


def digits_data() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures float32 [1797, 1, 16, 16] in [0, 1] in a fixed random order, and their digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.images))
    x = (data.images[order, None] / 16).astype(np.float32)
    return x.repeat(2, axis=2).repeat(2, axis=3), data.target[order].astype(np.int64)


def train(
    model: Any,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    epochs: int = EPOCHS,
    rate: float = RATE,
    batch: int = BATCH,
) -> None:
    """Adam with a falling rate, batches in an order of their own generator; ends in eval mode."""
    import paddle

    steps = epochs * (len(x) // batch)
    schedule = paddle.optimizer.lr.CosineAnnealingDecay(rate, steps)
    adam = paddle.optimizer.Adam(schedule, parameters=model.parameters())
    rng = np.random.default_rng(1)
    model.train()
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            rows = order[start : start + batch]
            logits = model(paddle.to_tensor(x[rows]))
            paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(y[rows])).backward()
            adam.step()
            adam.clear_grad()
            schedule.step()
    model.eval()


def trained_digits(cache: Path | None = None) -> Trained:
    """The trained network, and the 360 pictures and digits that it was not trained on.

    Args:
        cache: a folder for the weights; None trains.
    """
    x, y = digits_data()
    held = len(x) - HELD
    model = digits_network()
    fit_once(model, lambda: train(model, x[:held], y[:held]), cache, "digits")
    return model, x[held:], y[held:]


def fit_once(model: Any, fit: Callable[[], None], cache: Path | None, name: str) -> None:
    """Give a model the weights in the cache, or fit it and keep them there."""
    texts = (__file__, inspect.getfile(fit), inspect.getfile(type(model)))
    digest = hashlib.sha256(b"".join(Path(file).read_bytes() for file in texts)).hexdigest()[:16]
    file = None if cache is None else cache / f"{name}-{digest}.npz"
    if file is not None and file.is_file():
        with np.load(file) as state:
            model.set_state_dict({key: state[key] for key in state.files})
        return
    with warnings.catch_warnings():  # Paddle says that batch-norm in training tracks its mean
        warnings.filterwarnings("ignore", "When training, we now always track", UserWarning)
        fit()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        mine = file.with_name(f".{os.getpid()}-{file.name}")  # tests may run in several processes
        np.savez(mine, **{key: value.numpy() for key, value in model.state_dict().items()})
        os.replace(mine, file)


def digits_transformer() -> Any:
    """The zoo's vision transformer for pictures [N, 1, 16, 16] in [0, 1]: 4 x 4 patches, 2 blocks
    of 2 heads, tokens of 32 numbers.
    """
    from interpretdl import Preprocessing
    from interpretdl.lrp_model.vision_transformer import VisionTransformer

    model = VisionTransformer(10, 1, size=16, patch=4, width=32, depth=2, heads=2, mlp_ratio=2)
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            values = rng.normal(0, 0.02 if parameter.ndim == 3 else 0.1, parameter.shape)
            parameter.set_value(values.astype("float32"))
    model.preprocessing = Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
    model.class_names = tuple("0123456789")
    model.eval()
    return model


def digits_in_quarters(copies: int, rows: slice) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Black pictures float32 [N, 1, 16, 16], each with a digit in one of its quarters.

    Args:
        copies: in how many quarters, drawn anew, each digit comes.
        rows: which of the digits.
    """
    x, y = digits_data()
    x, y = np.tile(x[rows, :, ::2, ::2], (copies, 1, 1, 1)), np.tile(y[rows], copies)
    pictures = np.zeros((len(x), 1, 2, 8, 2, 8), np.float32)
    places = np.random.default_rng(2).integers(0, 2, (len(x), 2))
    pictures[np.arange(len(x)), :, places[:, 0], :, places[:, 1]] = x
    return pictures.reshape(-1, 1, 16, 16), y


def trained_transformer(cache: Path | None = None) -> Trained:
    """The trained transformer, and 360 pictures and digits that it was not trained on."""
    model = digits_transformer()

    def fit() -> None:
        train(model, *digits_in_quarters(4, slice(-HELD)), epochs=5, rate=6e-3)

    fit_once(model, fit, cache, "transformer")
    return model, *digits_in_quarters(1, slice(-HELD, None))


def weights_folder(request: pytest.FixtureRequest) -> Path:
    """pytest's cache directory, or under -p no:cacheprovider one that lasts as long as the run."""
    cache = getattr(request.config, "cache", None)
    if cache is not None:
        return Path(cache.mkdir("digits"))
    return Path(request.getfixturevalue("tmp_path_factory").getbasetemp())


@pytest.fixture(scope="session")
def digits_model(request: pytest.FixtureRequest) -> Trained:
    """(model in eval mode, x float32 [360, 1, 16, 16] in [0, 1], y int64 [360])."""
    return trained_digits(weights_folder(request))


@pytest.fixture(scope="session")
def digits_vit(request: pytest.FixtureRequest) -> Trained:
    """(vision transformer in eval mode, x float32 [360, 1, 16, 16] in [0, 1], y int64 [360])."""
    return trained_transformer(weights_folder(request))
