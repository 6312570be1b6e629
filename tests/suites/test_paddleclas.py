"""PaddleClas's architectures by name, and what the pages say of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from PIL import Image

import interpretdl as it
from interpretdl.suites import classification
from tests.suites import table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "suites.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## PaddleClas\n")[2].partition("\n## ")[0]
ZOO = (ROOT / "docs" / "models.md").read_text(encoding="utf-8").partition(f"\n{table.TITLE}\n")[2]
# Of each kind one that takes a moment: gates, products, attention within windows, PReLU.
QUICK = ("PPLCNet_x0_25", "GhostNet_x0_5", "StarNet_S1", "MobileViT_XXS", "LeViT_128S", "ResNet18")


def outputs(model: Any, size: int = 64) -> Any:
    x = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype("float32")
    with paddle.no_grad():
        return model(paddle.to_tensor(x)).numpy()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the sample pictures and weights of three classes in it."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    (tmp_path / "cat.png").symlink_to(ROOT / "assets" / "chelsea.png")
    monkeypatch.chdir(tmp_path)
    model = it.paddleclas_model("PPLCNet_x1_0", class_num=3)
    paddle.save(model.state_dict(), "PPLCNet_x1_0.pdparams")
    return tmp_path


def test_the_page_runs(folder: Path, capsys: Any) -> None:
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL):
        exec(block, names)  # noqa: S102 - the page's own lines
        assert np.abs(names["found"].values).max() > 0
    assert names["model"].state_dict()["fc.weight"].shape == [1280, 3]
    assert np.asarray(Image.open("cup.png")).std() > 10


def test_the_commands_of_the_page_run(folder: Path) -> None:
    commands = re.findall(r"^interpretdl (.*paddleclas:.*)$", SECTION, re.MULTILINE)
    assert len(commands) == 2
    for line in commands:
        done = subprocess.run(
            [sys.executable, "-m", "interpretdl", *line.split()],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "ppcls" not in done.stdout
        assert "faiss" not in done.stderr
    assert Path("cat_lrp.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["PPLCNet_x1"], "PaddleClas has no model 'PPLCNet_x1'; did you mean 'PPLCNet_x1_5'"),
        (["pplcnet_x0_25"], "'PPLCNet_x0_25'"),
        (["PPLCNet_x0_25"], "starts with random weights: give --weights FILE"),
        (["ResNet18", "--weights", "PPLCNet_x1_0.pdparams"], "are not for this ResNet"),
        (["cae_base_patch16_224"], "PaddleClas cannot build cae_base_patch16_224: KeyError"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: list[str], answer: str) -> None:
    from interpretdl.cli.models import load_model

    weights = dict(zip(arguments[1::2], arguments[2::2], strict=True)).get("--weights")
    with pytest.raises(it.InterpretError, match=re.escape(answer)) as error:
        load_model(f"paddleclas:{arguments[0]}", weights=weights)
    assert "\n" not in str(error.value)


def test_what_is_not_installed_is_named(monkeypatch: Any) -> None:
    for missing, answer in {
        "paddleclas": "PaddleClas is not installed: pip install --no-deps paddleclas",
        "cv2": "PaddleClas is installed, but not cv2",
    }.items():

        def absent(name: str, missing: str = missing) -> Any:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

        monkeypatch.setattr(classification, "import_module", absent)
        with pytest.raises(it.InputError, match=answer):
            it.paddleclas_model("ResNet18")


def test_weights_of_another_number_of_classes_are_taken(tmp_path: Path) -> None:
    for name in ("ResNet18", "DeiT_tiny_distilled_patch16_224"):  # which has two heads
        model = it.paddleclas_model(name, class_num=7)
        paddle.save(model.state_dict(), str(tmp_path / "weights.pdparams"))
        again = it.paddleclas_model(name, tmp_path / "weights.pdparams")
        np.testing.assert_array_equal(outputs(again, 224), outputs(model, 224))
    with pytest.raises(it.WeightsError):
        it.paddleclas_model(name, tmp_path / "weights.pdparams", class_num=8)


def test_it_is_the_same_model_as_paddleclas_own() -> None:
    import paddleclas

    own = paddleclas.ResNet18(class_num=5)
    ours = it.paddleclas_model("ResNet18", class_num=5)
    ours.set_state_dict(own.state_dict())
    own.eval()
    np.testing.assert_array_equal(outputs(ours), outputs(own))


def test_parameters_that_have_names_can_be_built_twice() -> None:
    """PaddleClas names DenseNet's parameters itself, and Paddle takes a name once."""
    one, two = (it.paddleclas_model("DenseNet121", class_num=4) for _ in range(2))
    assert [p.name for p in one.parameters()] == [p.name for p in two.parameters()]
    for model in (one, two):
        found = it.IntegratedGradientsInterpreter(model).explain(
            np.zeros([1, 3, 64, 64], np.float32), label=1, steps=4
        )
        assert np.isfinite(found.values).all()


def test_sizes_follow_from_names() -> None:
    assert classification._preprocessing("ResNet50") == it.Preprocessing(256, 224)
    assert classification._preprocessing("DeiT_base_patch16_384") == it.Preprocessing(438, 384)
    assert classification._preprocessing("InceptionV3") == it.Preprocessing(320, 299)
    vit = classification._preprocessing("ViT_base_patch16_384")
    assert (vit.resize, vit.crop, tuple(vit.mean)) == (384, 384, (0.5, 0.5, 0.5))


def test_the_table_has_every_family() -> None:
    rows = [line.split("`")[1] for line in ZOO.splitlines() if line.startswith("| `")]
    assert rows == list(table.SIZES)
    backbone = paddle_clas_folder() / "arch" / "backbone"
    there = {
        f"{folder}.{path.stem}"
        for folder in ("legendary_models", "model_zoo")
        for path in (backbone / folder).glob("*.py")
        if path.stem not in ("__init__", "custom_devices_layers")
    }
    assert there == {*table.FAMILIES, *table.BROKEN}


def paddle_clas_folder() -> Path:
    import paddleclas

    return Path(paddleclas.__file__).parent / "ppcls"


@pytest.mark.parametrize("name", QUICK)
def test_as_the_table_says(name: str) -> None:
    assert table.row(name) in ZOO.splitlines()


def test_maps_are_added_to_visualdl(tmp_path: Path) -> None:
    from visualdl import LogReader

    model = paddle.Model(it.paddleclas_model("PPLCNet_x0_25", class_num=2))
    model.network.train()
    sgd = paddle.optimizer.SGD(0.01, parameters=model.parameters())
    model.prepare(sgd, paddle.nn.CrossEntropyLoss())
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3, 64, 64)).astype("float32")
    data = paddle.io.TensorDataset(
        [paddle.to_tensor(x), paddle.to_tensor(np.arange(8)[:, None] % 2)]
    )
    log = tmp_path / "log"
    watch = it.callbacks.ExplainEpoch(x[:2], folder=None, visualdl=log)
    model.fit(data, epochs=2, batch_size=4, verbose=0, callbacks=[watch])
    assert watch.failures == {}
    watch.writer.close()
    (file,) = log.iterdir()
    found = LogReader(file_path=str(file)).get_data("image", "grad_cam")
    assert [one.id for one in found] == [1, 2]
