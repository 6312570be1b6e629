"""A small network trained on scikit-learn's handwritten digits, for tests that need a real one.

    def test_something(digits_model):
        model, x, y = digits_model

It is trained once; the weights are kept in `weights_folder`, under a name that changes with this
file's text.
"""

from __future__ import annotations

import hashlib
import os
import warnings
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
    held = len(x) - 360
    model = digits_network()
    name = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    file = None if cache is None else cache / f"digits-{name}.npz"
    if file is not None and file.is_file():
        with np.load(file) as state:
            model.set_state_dict({key: state[key] for key in state.files})
    else:
        with warnings.catch_warnings():  # Paddle says that batch-norm in training tracks its mean
            warnings.filterwarnings("ignore", "When training, we now always track", UserWarning)
            train(model, x[:held], y[:held])
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            mine = file.with_name(
                f".{os.getpid()}-{file.name}"
            )  # tests may run in several processes
            np.savez(mine, **{key: value.numpy() for key, value in model.state_dict().items()})
            os.replace(mine, file)
    return model, x[held:], y[held:]


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
