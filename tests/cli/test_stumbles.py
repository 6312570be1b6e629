"""What made people stumble: names, lists, folders, and output for other programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import interpretdl as it
from interpretdl import cli
from interpretdl.interpreter.base import Interpreter
from interpretdl.registry import BLIND, METHODS
from interpretdl.testing import small_network

OWN = ["--model", "own_model_here:small"]


@pytest.fixture
def folder(here: Path) -> Path:
    """Eleven pictures, of which the fourth cannot be read."""
    rng = np.random.default_rng(0)
    path = here / "photographs"
    path.mkdir()
    for number in range(11):
        pixels = rng.integers(0, 256, (30 + number, 40, 3), np.uint8)
        Image.fromarray(pixels).save(path / f"{number:02}.png")
    (path / "03.png").write_bytes(b"no picture")
    return path


def test_predictions_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", str(folder), *OWN, "--json", "--top", "2"]) == 1
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [Path(row["image"]).name for row in rows] == [f"{n:02}.png" for n in range(11) if n != 3]
    assert "03.png" in err
    for row in rows:
        assert len(row["predictions"]) == 2
        assert set(row["predictions"][0]) == {"index", "name", "probability"}
        first, second = (one["probability"] for one in row["predictions"])
        assert 1 >= first >= second >= 0
    assert cli.main(["predict", "photo.png", *OWN, "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["image"] == "photo.png"


def test_predictions_as_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "03.png").rename(folder / 'a, "b".png')
    (folder / 'a, "b".png').write_bytes((folder / "00.png").read_bytes())
    assert cli.main(["predict", str(folder), *OWN, "--csv", "--top", "3"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 11 * 3
    assert list(rows[0]) == ["image", "rank", "index", "name", "probability"]
    assert {row["name"] for row in rows} <= {"ant", "bee", "cat", "dog", "elk"}
    assert rows[-1]["image"].endswith('a, "b".png')
    assert cli.main(["predict", "photo.png", *OWN, "--csv", "--json"]) == 2


@pytest.mark.parametrize(("method", "most"), [("gradient", 8), ("smooth_grad", 1)])
def test_a_folder_runs_in_batches(
    method: str, most: int, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """With the results of one picture at a time, unreadable ones left out."""
    explain, sizes = Interpreter._explain, []

    def watched(self: Any, inputs: Any, *args: Any, **options: Any) -> Any:
        sizes.append(len(inputs) if isinstance(inputs, list) else 1)
        return explain(self, inputs, *args, **options)

    cls = METHODS.find(method).cls
    monkeypatch.setattr(cls, "explain", watched)
    arguments = ["explain", str(folder), *OWN, "--method", method, "--save", "maps", "--quiet"]
    assert cli.main(arguments) == 1
    assert "03.png" in capsys.readouterr().err
    assert max(sizes) == most
    written = sorted(path.name for path in Path("maps").glob("*.png"))
    assert written == [f"{n:02}_{method}.png" for n in range(11) if n != 3]
    alone = ["explain", str(folder / "09.png"), *OWN, "--method", method, "--save", "one.png"]
    assert cli.main(alone) == 0
    one, of_many = (np.asarray(Image.open(p), int) for p in ("one.png", f"maps/09_{method}.png"))
    assert one.shape == of_many.shape
    assert np.abs(one - of_many).mean() < 1


def test_pictures_of_several_sizes_are_explained_one_by_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model takes any size, so they cannot be one array."""
    model = ["--model", "interpretdl.testing:small_network"]
    (folder / "03.png").unlink()
    assert cli.main(["explain", str(folder), *model, "--save", "maps", "--quiet"]) == 0
    assert len(list(Path("maps").glob("*.png"))) == 10


def test_a_word_of_a_class_s_name_is_understood() -> None:
    names = ("tiger cat", "tabby, tabby cat", "crate", "coast", "Persian-cat", "vat")
    with pytest.raises(it.TargetError) as error:
        it.targets.target_of("cat", "logit", names, 1, [0])
    assert str(error.value).endswith("did you mean 'tiger cat', 'tabby cat', 'persian-cat'?")
    with pytest.raises(it.TargetError) as error:
        it.targets.target_of("tabbi", "logit", names, 1, [0])
    assert str(error.value).count("tabby") == 1 + 1  # tabby, tabby cat


def test_lists_of_methods_say_which_do_not_look_at_the_class(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["methods"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for name, info in METHODS.all().items():
        assert (BLIND.strip() in lines[name]) == info.class_blind
    assert cli.main(["methods", "guided_bp"]) == 0
    assert BLIND.strip() in capsys.readouterr().out


def test_composites_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["methods", "lrp"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("alpha1_beta0", "epsilon_gamma_box"))


def test_reprs_are_short() -> None:
    model = small_network()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    audit = it.LRPInterpreter(model).audit(pixels, composite="epsilon")
    assert len(repr(audit)) < 150
    shown = it.feature_visualization.ActivationMaximization(model).plain(
        [0, 1], (3, 16, 16), steps=1
    )
    assert len(repr(shown)) < 150
    footer = it.GradientInterpreter(model).explain(pixels, times_input=True)._repr_html_()
    assert "gradient(times_input=True)" in footer
    assert "gradient()" in it.GradientInterpreter(model).explain(pixels)._repr_html_()


def test_a_failed_download_names_the_option_too() -> None:
    from interpretdl.lrp_model.download import _advice

    text = _advice("https://example.org/resnet50.pdparams", "no route to host")
    assert "pretrained='path/to/file.pdparams'" in text
    assert "--weights FILE" in text
