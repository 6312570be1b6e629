"""Maps after each epoch, and a training that does not notice them."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn
from PIL import Image

import interpretdl as it
from tests.digits import digits_data

ROWS = 128

pytestmark = pytest.mark.filterwarnings(  # what Paddle says when it trains
    "ignore:When training, we now always track:UserWarning",
    "ignore:To copy construct from a tensor:UserWarning",
)


class Digits(paddle.io.Dataset):
    def __init__(self) -> None:
        self.x, self.y = digits_data()

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.y[index : index + 1]

    def __len__(self) -> int:
        return ROWS


def network() -> Any:
    """With batch-norm and dropout, which are other in eval mode, and draw random numbers."""
    model = nn.Sequential(
        nn.Conv2D(1, 8, 3), nn.BatchNorm2D(8), nn.ReLU(), nn.Dropout(0.3),
        nn.AdaptiveAvgPool2D(2), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    model.preprocessing = it.Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,))
    return model


def fitted(callbacks: list[Any], epochs: int = 2) -> Any:
    """Trained from the same start; the random states are as they were afterwards."""
    states = paddle.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    paddle.seed(0)
    np.random.seed(0)  # noqa: NPY002  # Paddle's order of the data is drawn there
    random.seed(0)
    try:
        model = paddle.Model(network())
        adam = paddle.optimizer.Adam(0.01, parameters=model.parameters())
        model.prepare(adam, nn.CrossEntropyLoss())
        model.fit(
            Digits(), epochs=epochs, batch_size=32, verbose=0, callbacks=callbacks,
            accumulate_grad_batches=3,  # 4 batches: gradients are left at the end of an epoch
        )  # fmt: skip
        model.drawn = paddle.rand([4]).numpy(), np.random.rand(4)  # noqa: NPY002
    finally:
        paddle.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
    return model


def everything(model: Any) -> dict[str, Any]:
    """All that a training leaves, and the next random numbers."""
    found = {name: value.numpy() for name, value in model.network.state_dict().items()}
    for i, value in enumerate(model._optimizer.state_dict().values()):
        if isinstance(value, paddle.Tensor):
            found[f"optimizer {i}"] = value.numpy()
    for name, parameter in model.network.named_parameters():
        if parameter.grad is not None:
            found[f"gradient of {name}"] = parameter.grad.numpy()
    found["modes"] = np.array([layer.training for layer in model.network.sublayers()])
    found["drawn"] = np.concatenate(model.drawn)
    return found


@pytest.fixture(scope="module")
def pictures() -> Any:
    return digits_data()[0][-3:]


@pytest.fixture(scope="module")
def alone() -> Any:
    return fitted([])


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grad_cam", {"label": 3}),
        ("smooth_grad", {"n_samples": 3}),
        ("lime", {"evaluations": 500, "batch_size": 64}),
        ("lrp", {"composite": "epsilon"}),
    ],
)
def test_the_training_is_the_same_bit_for_bit(
    method: str, options: Any, alone: Any, pictures: Any, tmp_path: Path
) -> None:
    watch = it.callbacks.ExplainEpoch(pictures, method, folder=tmp_path / "maps", **options)
    before, after = everything(alone), everything(fitted([watch]))
    assert watch.failures == {}
    assert before.keys() == after.keys()
    assert any(name.startswith("gradient") for name in before)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    files = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert files == ["epoch_001.png", "epoch_002.png"]
    first, second = (np.asarray(Image.open(tmp_path / "maps" / name)) for name in files)
    assert first.std() > 10
    assert first.shape != second.shape or (first != second).any()


def test_the_last_map_is_that_of_the_trained_network(pictures: Any, tmp_path: Path) -> None:
    rows = pictures[:, :, :4, :4].reshape(3, 16)

    class Rows(Digits):
        def __init__(self) -> None:
            super().__init__()
            self.x = self.x[:, :, :4, :4].reshape(-1, 16)

    watch = it.callbacks.ExplainEpoch(
        rows, "gradient", folder=tmp_path, every=2, label=1, preprocessing=None
    )
    model = paddle.Model(nn.Sequential(nn.Linear(16, 10)))
    model.prepare(paddle.optimizer.SGD(0.1, parameters=model.parameters()), nn.CrossEntropyLoss())
    model.fit(Rows(), epochs=5, batch_size=64, verbose=0, callbacks=[watch])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch_002.npz", "epoch_004.npz"]
    weights = model.network[0].weight.numpy()[:, 1]
    np.testing.assert_allclose(watch.explain().values, np.tile(weights, (3, 1)), rtol=1e-6)
    earlier = it.Explanation.load(tmp_path / "epoch_002.npz").values
    assert np.abs(earlier - weights).max() > 1e-6


def test_what_fails_does_not_end_the_training(alone: Any, tmp_path: Path) -> None:
    watch = it.callbacks.ExplainEpoch([tmp_path / "not_there.png"], folder=tmp_path)
    with pytest.warns(it.InterpretWarning, match=r"epoch 1 was not explained.*not_there") as said:
        model = fitted([watch])
    assert len([one for one in said if "was not explained" in str(one.message)]) == 1
    assert list(watch.failures) == [1, 2]
    before, after = everything(alone), everything(model)
    assert all((after[name] == value).all() for name, value in before.items())
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_found_before_the_training(tmp_path: Path, monkeypatch: Any) -> None:
    make = it.callbacks.ExplainEpoch
    for match, arguments in {
        "no method 'grad_cma'; did you mean 'grad_cam'": {"method": "grad_cma"},
        "option 'composit'; did you mean 'composite'": {"method": "lrp", "composit": "epsilon"},
        "every must be at least 1": {"every": 0},
        "neither a folder nor VisualDL": {"folder": None},
        "visualdl must be a log folder or a LogWriter": {"visualdl": 3},
    }.items():
        given: Any = {"folder": tmp_path / "maps", **arguments}
        with pytest.raises(it.InputError, match=match):
            make([], **given)
    (tmp_path / "file").write_text("")
    with pytest.raises(it.ResourceError, match="cannot make the folder"):
        make([], folder=tmp_path / "file" / "maps")
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with pytest.raises(it.InputError, match="pip install visualdl"):
        make([], folder=None, visualdl=tmp_path)


def test_figures_are_added_to_visualdl(pictures: Any, tmp_path: Path, monkeypatch: Any) -> None:
    added: list[Any] = []

    class LogWriter:
        def __init__(self, logdir: str) -> None:
            self.logdir = logdir

        def add_image(self, tag: str, img: Any, step: int) -> None:
            added.append((self.logdir, tag, step, img.dtype, img.ndim, img.shape[2]))

    module: Any = ModuleType("visualdl")
    module.LogWriter = LogWriter
    monkeypatch.setitem(sys.modules, "visualdl", module)
    watch = it.callbacks.ExplainEpoch(pictures, folder=None, visualdl=tmp_path / "log")
    fitted([watch])
    assert watch.failures == {}
    assert added == [(str(tmp_path / "log"), "grad_cam", step, np.uint8, 3, 3) for step in (1, 2)]
