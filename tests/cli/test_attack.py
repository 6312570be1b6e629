"""Hostile arguments, names, files and streams: one line on standard error, never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interpretdl import GradientInterpreter, cli
from interpretdl.cli.outcome import complain
from interpretdl.errors import InputError
from interpretdl.evaluator import compare
from interpretdl.explanation import Explanation
from interpretdl.probe.state import check_device
from interpretdl.testing import small_network

OWN = ["--model", "own_model_here:small"]
NO_TEXT = os.fsdecode(b"caf\xe9")  # a name of a file in Latin-1, where names are UTF-8
LONG = "x" * 300

OTHERS = """
import sys
from own_model_here import small

def several():
    model = small()
    run = model.forward
    model.forward = lambda x: {"a": run(x), "b": run(x)}
    return model

def leaves():
    sys.exit(0)
"""


@pytest.fixture
def there(here: Path) -> Path:
    """`here`, with things that are no pictures."""
    (here / "file").touch()
    (here / "pictures").mkdir()
    (here / "pictures" / "a.png").write_bytes((here / "photo.png").read_bytes())
    (here / "others_here.py").write_text(OTHERS)
    (here / "goes_away.py").write_text("raise SystemExit(0)")
    return here


def refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir())
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err
    assert len(err) < 2500
    assert sorted(os.listdir()) == before


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["--5", "²", "٣", "1_0", " 1", "+1", "1.0", "-", ""])
@pytest.mark.parametrize("option", ["label", "output"])
def test_what_is_no_number_is_a_name(
    option: str, text: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--model", "others_here:several", "--output=a"] if option == "label" else OWN
    refused(["explain", "photo.png", *own, f"--{option}={text}"], repr(text), capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([f"--label={'9' * 5000}"], "(5000 characters)"),
        ([f"--label=-{'9' * 5000}"], "(5001 characters)"),
        ([f"--output={'9' * 5000}"], "(5000 characters)"),
        (["--output", "foo"], "leave output=None"),
        (["--model", "others_here:several", "--output", "foo"], "output='foo' is not in {'a'"),
        (["--model", "others_here:several", "--output", "1"], "output=1 is not in {'a'"),
        (["--model", "others_here:leaves"], "ended the program (exit code 0)"),
        (["--model", "goes_away:model"], "ended the program (exit code 0)"),
        ([f"--top={'9' * 100_000}"], "--top"),
        (["--style", "overlay", f"--{'x' * 100_000}"], "xxx […] xxx"),
        (["--label", "x" * 100_000], "xxx […] xxx"),
        (["--method", "x" * 100_000], "xxx […] "),
        (["--label", "a\nb\x1b[31m"], r"'a\nb\x1b[31m'"),
        (["--save", f"{LONG}.png"], "255 bytes"),
        (["--save", f"{LONG}/map.png"], "255 bytes"),
        (["--save", "x/" * 3000 + "map.png"], "too long"),
        (["--save", "file/map.png"], "is a file"),
        (["--save", ""], "empty"),
        (["--save", "a\0b.png"], "null character"),
        (["--save", "\x1b.gif"], r"'\x1b.gif'"),
        (["--weights", ""], "empty"),
        (["--weights", "a\0b"], "null character"),
        (["pictures", "--save", "file"], "is a file"),
        (["pictures", "--save", "file/new"], "is missing"),
        (["pictures", "--save", LONG], "cannot make the folder"),
    ],
)
def test_mistakes_that_were_tracebacks(
    arguments: list[str], says: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["explain", "photo.png", *OWN, *arguments], says, capsys)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux's /proc takes no files")
@pytest.mark.parametrize("save", ["/proc/newdir", "/proc/newdir/", "/proc/map.png"])
def test_a_place_that_takes_nothing(
    save: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = "photo.png" if save.endswith("png") else "pictures"
    refused(["explain", given, *OWN, "--save", save], "/proc", capsys)


@pytest.mark.parametrize("name", [f"{LONG}.png", LONG, "x/" * 3000, "", "a\0b", f"{NO_TEXT}.png"])
@pytest.mark.parametrize("command", ["explain", "predict", "evaluate"])
def test_names_of_pictures_that_cannot_be(
    command: str, name: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([command, name, *OWN], "", capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "photo.png", *OWN, "--csv"],
        ["evaluate", "photo.png", *OWN, "--html"],
        ["evaluate", "photo.png", *OWN, "--resume"],
        ["dissect", "pictures", *OWN, "--out"],
        ["dissect"],
        ["mini-broden"],
        ["mini-broden", "new", "--stamps"],
    ],
)
@pytest.mark.parametrize("path", ["", "a\0b"])
def test_paths_of_every_command(
    arguments: list[str], path: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused([*arguments, path], "the path", capsys)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mini-broden", "new", "--seed=-1"], "--seed"),
        (["dissect", "pictures", *OWN, "--input-size=-1"], "--input-size"),
        (["dissect", "pictures", *OWN, "--input-size=100000000000"], "--input-size"),
    ],
)
def test_numbers_that_no_array_has(
    arguments: list[str], says: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(arguments, says, capsys)


@pytest.mark.parametrize("radius", ["nan", "inf", "1e308", "-1"])
def test_a_radius_that_no_ball_has(
    radius: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = ["--metric", "sensitivity_max", "--option", f"sensitivity_max.radius={radius}"]
    refused(["evaluate", "photo.png", *OWN, *option], "radius must be", capsys)


DEVICES = ["cpu:x", "cpu:0", "cpu:", "gpu:", "gpu:-1", "gpu:x", "gpu:²", "gpu:0:0", "GPU", " cpu"]


@pytest.mark.parametrize("device", [*DEVICES, "", "gpu:" + "9" * 5000])
def test_devices_that_are_none(
    device: str, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(["predict", "photo.png", *OWN, "--device", device], "device must be", capsys)


class Place:
    """Where parameters are, on a machine with GPUs."""

    def __init__(self, number: int | None) -> None:
        self.number = number

    def is_gpu_place(self) -> bool:
        return self.number is not None

    def gpu_device_id(self) -> int | None:
        return self.number


@pytest.mark.parametrize(
    ("device", "number", "fits"),
    [
        ("cpu", None, True),
        ("cpu", 0, False),
        ("gpu", None, False),
        ("gpu", 3, True),
        ("gpu:3", 3, True),
        ("gpu:0", 3, False),
        ("gpu:99", 0, False),
    ],
)
def test_a_gpu_is_the_one_that_was_named(
    device: str, number: int | None, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interpretdl.probe.state.place_of", lambda model: Place(number))
    monkeypatch.setattr("paddle.device.is_compiled_with_cuda", lambda: True)
    if fits:
        check_device(None, device)
    else:
        with pytest.raises(InputError, match="the model's parameters are on"):
            check_device(None, device)


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="makes pipes")
@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "photo.png", "--save", "pipe.png"],
        ["explain", "photo.png", "--save", "pipe.npz"],
        ["explain", "pictures", "--save", "pipe.png"],
        ["explain", "pictures", "--method", "gradient", "--save", "."],
        ["evaluate", "photo.png", "--csv", "pipe.csv"],
        ["evaluate", "photo.png", "--html", "pipe.html"],
        ["evaluate", "photo.png", "--resume", "pipe.json"],
    ],
)
def test_a_pipe_is_not_replaced(
    arguments: list[str], there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a_gradient.png", *(f"pipe.{ending}" for ending in ("png", "npz", "csv", "html"))]
    for name in [*names, "pipe.json"]:
        os.mkfifo(name)
    refused([*arguments, *OWN], "", capsys)
    assert all(Path(name).is_fifo() for name in names)


def test_a_link_stays_and_the_file_is_written(there: Path) -> None:
    Path("there.png").touch()
    for name, to in (("link.png", "there.png"), ("new.png", "made.png")):
        Path(name).symlink_to(to)
        assert cli.main(["explain", "photo.png", *OWN, "-q", "--save", name]) == 0
        assert Path(name).is_symlink()
        assert Path(to).read_bytes().startswith(b"\x89PNG")


def test_a_link_to_nowhere_is_no_folder(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("link").symlink_to("nowhere")
    refused(["explain", "pictures", *OWN, "--save", "link"], "link is a file", capsys)


@pytest.mark.parametrize("stem", ["x" * 250, "é" * 120])
def test_a_name_that_leaves_no_room_for_the_method(stem: str, there: Path) -> None:
    for ending in (".png", ".jpg"):
        Path("pictures", stem + ending).write_bytes(Path("photo.png").read_bytes())
    assert cli.main(["explain", "pictures", *OWN, "-q", "--save", "out"]) == 0
    names = os.listdir("out")
    assert len(names) == 3
    assert sum(name.startswith(stem[:100]) for name in names) == 2


def test_a_folder_that_cannot_be_read(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:  # root may read any folder
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    refused(["predict", "pictures", *OWN], "cannot read the folder pictures: Permission", capsys)


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a folder in which somebody works")
def test_the_current_folder_is_gone(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    (there / "gone").rmdir()
    assert cli.main(["explain", str(there / "photo.png"), *OWN, "--save", "map.png"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
def test_a_name_that_is_no_text_loses_nothing(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the report, the table, the numbers, the names of results and on the screen."""
    picture = Path(f"pictures/{NO_TEXT}.png")
    picture.write_bytes(Path("photo.png").read_bytes())
    assert cli.main(["explain", "pictures", *OWN, "--save", "out"]) == 0
    out = capsys.readouterr().out
    assert "pictures/caf\\udce9.png:\n" in out
    assert "Wrote out/caf\\udce9_" in out
    assert len(os.listdir("out")) == 2
    assert cli.main(["explain", str(picture), *OWN, "-q", "--save", f"{NO_TEXT}.npz"]) == 0
    found = Explanation.load(f"{NO_TEXT}.npz")
    assert found.sources == (str(picture),)
    assert "caf\\udce9.png" in found._repr_html_().encode("utf-8").decode()


def test_a_report_with_a_name_that_is_no_text(there: Path) -> None:
    """The page lists images without a value, by their names."""
    method = GradientInterpreter(small_network())
    picture = there / f"{NO_TEXT}.png"
    picture.write_bytes((there / "photo.png").read_bytes())
    result = compare({f"{NO_TEXT}": method}, [picture], ["sparseness"], file="cells.json")
    cell = result.cells[NO_TEXT, "sparseness"]
    cell.flags[0] = "nothing to see"
    result.to_html("table.html")
    result.to_csv("table.csv")
    assert "caf\\udce9.png" in Path("table.html").read_text(encoding="utf-8")
    assert "caf\\udce9," in Path("table.csv").read_text(encoding="utf-8")
    assert NO_TEXT in json.loads(Path("cells.json").read_text(encoding="utf-8"))["cells"]


def test_a_name_with_a_line_break_is_one_line(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a\nb\x1b[31m.png"
    Path(name).write_bytes(Path("photo.png").read_bytes())
    assert cli.main(["predict", name, "photo.png", *OWN, "--top", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == r"a\nb\x1b[31m.png:"


# -- streams ---------------------------------------------------------------------------------------


def shell(line: str, there: Path, root: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """A command line in a shell, `interpretdl` and its model in it."""
    line = line.replace("interpretdl", f'"{sys.executable}" -W ignore -m interpretdl')
    environment = {**os.environ, "PYTHONPATH": str(root), **more}
    return subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", line],
        cwd=there, env=environment, capture_output=True, timeout=120,
    )  # fmt: skip


PREDICT = "interpretdl predict pictures photo.png --model own_model_here:small "


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (PREDICT + "| true", 141, b""),  # `head` may read all before it goes
        (PREDICT + "> /dev/full", 2, b"error: cannot print the results: No space left on device\n"),
        ("interpretdl --help > /dev/full", 2, b"error: No space left on device\n"),
        ("interpretdl methods > /dev/full", 2, b"error: cannot print the results: No space"),
        (PREDICT + ">&-", 0, b""),
        (PREDICT + "2>&-", 0, b""),
        ("interpretdl predict gone.png --model own_model_here:small 2>&-", 2, b""),
        ("interpretdl predict gone.png --model own_model_here:small 2> /dev/full", 2, b""),
    ],
)
def test_streams_that_are_full_or_closed(
    line: str, code: int, says: bytes, there: Path, root: Path
) -> None:
    if "/dev/full" in line and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    done = shell(line, there, root)
    assert (done.returncode, done.stderr[: len(says)]) == (code, says)
    assert done.stderr.count(b"\n") == (1 if says else 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are text")
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "utf-8"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_what_standard_output_cannot_encode(
    environment: dict[str, str], there: Path, root: Path
) -> None:
    (there / f"{NO_TEXT}.png").write_bytes((there / "photo.png").read_bytes())
    done = shell(PREDICT + "caf*.png --top 1", there, root, **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf\\udce9.png:" in done.stdout
    done = shell("interpretdl explain --help", there, root, **environment)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_that_cannot_be_told_is_still_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("typer.echo", full)
    complain("something")
