"""Writing files whole or not at all, and showing only where somebody sees it."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from interpretdl.data_processor import files, showing
from interpretdl.data_processor.visualizer import plot, save_figure, show
from interpretdl.errors import ResourceError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (1, 16, 20, 3)).astype(np.uint8)
MAPS = RNG.random((1, 16, 20))

# -- files ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:no font that matplotlib knows")
@pytest.mark.parametrize("suffix", [*files.FIGURE_SUFFIXES, ".PNG"])
def test_figures_are_saved_in_every_format(tmp_path, suffix):
    path = tmp_path / f"häuser und 猫{suffix}"
    save_figure(plot(IMAGES, MAPS, ["Katze 猫"]), path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    if suffix not in (".pdf", ".svg"):
        with Image.open(path) as picture:
            assert min(picture.size) > 200


def test_where_nothing_can_be_written_is_known_before(tmp_path, monkeypatch):
    with pytest.raises(ResourceError, match="does not exist"):
        files.check_writable(tmp_path / "missing" / "a.png")
    with pytest.raises(ResourceError, match="is a folder"):
        files.check_writable(tmp_path)
    with pytest.raises(ResourceError, match=r"did you mean '\.png'"):
        files.check_writable(tmp_path / "a.pngg")
    with pytest.raises(ResourceError, match="255"):
        files.check_writable(tmp_path / ("a" * 300 + ".png"))
    assert files.check_writable(tmp_path / "a.png") == (tmp_path / "a.png").resolve()
    assert list(tmp_path.iterdir()) == []

    def refuse(*_args, **_kwargs):  # root may write anywhere, so a read-only folder is played
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ResourceError, match="Permission denied"):
        files.check_writable(tmp_path / "a.png")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any folder"
)
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ResourceError, match="may write"):
            files.check_writable(tmp_path / "a.png")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(28, "No space")])
def test_a_failed_write_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")
    wanted = ResourceError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted), files.atomic_path(path) as temporary:  # noqa: PT012  # it fails inside
        assert (temporary.parent, temporary.suffix) == (path.parent, ".txt")
        temporary.write_text("half")
        raise error
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_the_usual_permissions_hold(tmp_path):
    target, link, plain = tmp_path / "t.txt", tmp_path / "l.txt", tmp_path / "p.txt"
    target.write_text("before")
    plain.write_text("")
    link.symlink_to(target)
    with files.atomic_path(link) as temporary:
        temporary.write_text("after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert target.stat().st_mode == plain.stat().st_mode


def holder(kind, path):
    """Something at `path` that is no regular file; what must be kept alive for it."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path.name)  # its whole path may be longer than a socket's name can be
        return listener
    elif kind == "loop":
        path.symlink_to(path.name)
    else:  # one of its own: if this test fails, what it tests replaces the device
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may make a device")
    return None


@pytest.mark.skipif(os.name == "nt", reason="makes pipes and devices of Unix")
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "loop"])
def test_what_is_no_file_is_not_replaced(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "out.png"
    kept = holder(kind, path)
    before = path.lstat()
    with pytest.raises(ResourceError, match="cannot write"):
        files.check_writable(path)
    with pytest.raises(ResourceError, match="cannot write"), files.atomic_path(path):
        pass
    assert os.path.samestat(path.lstat(), before)
    assert os.listdir() == [path.name]
    if kept is not None:
        kept.close()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "empty"),
        ("a\0.png", "null"),
        ("\ud800.png", "surrogate"),
        ("x" * 300 + ".png", "255"),
        ("x" * 300 + "/a.png", "255"),
        ("x/" * 4000 + "a.png", "too long"),
        ("file/a.png", "is a file"),
        ("file/b/a.png", "does not exist"),
    ],
)
def test_a_path_that_cannot_be_is_a_typed_error(path, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(ResourceError, match=says):
        files.check_writable(path)
    with pytest.raises(ResourceError), files.atomic_path(path):
        pass
    assert os.listdir() == ["file"]


def test_a_link_to_nothing_is_written_where_it_leads(tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to("new.txt")
    with files.atomic_path(link) as temporary:
        temporary.write_text("x")
    assert link.is_symlink()
    assert (tmp_path / "new.txt").read_text() == "x"


@pytest.mark.skipif(os.name == "nt", reason="files of Windows are locked otherwise")
def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path):
    path, seen = tmp_path / "a.png", []
    with files.atomic_path(path) as one, files.atomic_path(path) as other:
        assert one != other
        seen = [one, other]
        one.write_text("one")
        other.write_text("other")
        files.check_writable(path)
        assert sorted(tmp_path.iterdir()) == sorted(seen)
    assert path.read_text() == "one"  # whose block ended last
    seen[0].write_text("half")  # as it lies there after `kill -9`, with nobody who holds it
    files.check_writable(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_that_somebody_planted_is_not_written_through(tmp_path):
    path, victim = tmp_path / "a.txt", tmp_path / "victim"
    victim.write_text("safe")
    with files.atomic_path(path) as temporary:
        pass
    temporary.symlink_to(victim)
    with files.atomic_path(path) as another:
        assert another != temporary
        another.write_text("x")
    assert (victim.read_text(), path.read_text()) == ("safe", "x")


@pytest.mark.parametrize("suffix", files.SAVE_SUFFIXES)
def test_the_same_content_is_the_same_bytes_at_any_time(suffix, tmp_path, monkeypatch):
    written = []
    for moment in (10**9, 2 * 10**9):
        monkeypatch.setattr(time, "time", lambda moment=moment: float(moment))
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(moment))  # the clock of matplotlib's files
        path = tmp_path / f"{moment}{suffix}"
        if suffix == ".npz":
            files.write_archive(path, {"maps": MAPS}, {"n": 1})
        else:
            save_figure(plot(IMAGES, MAPS, ["title"]), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]


# -- show -----------------------------------------------------------------------------------------

_SHOW = """
import sys, warnings, numpy as np
from interpretdl.data_processor.visualizer import plot, show
figure = plot(np.zeros((1, 8, 8, 3), np.uint8), np.eye(8)[None])
warnings.simplefilter("error")
show(figure)
print("matplotlib.pyplot" in sys.modules)
"""


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="they always have a display")
@pytest.mark.parametrize(("display", "pyplot"), [("", "False"), (":99", "True")])
def test_without_a_display_nothing_is_shown_and_nothing_said(display, pyplot):
    environment = {k: v for k, v in os.environ.items() if k != "WAYLAND_DISPLAY"}
    # importing Paddle warns about tools that it misses; ours starts after it
    environment |= {"DISPLAY": display, "MPLBACKEND": "agg", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", _SHOW],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", pyplot)


def test_in_a_notebook_the_picture_goes_to_the_cell(monkeypatch):
    shown = []
    fake = ModuleType("IPython")
    fake.get_ipython = lambda: SimpleNamespace(kernel=object())
    fake.display = ModuleType("IPython.display")
    fake.display.display = shown.append
    fake.display.Image = lambda data, format: data
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake.display)
    assert showing.in_notebook()
    show(plot(IMAGES, MAPS))
    assert shown[0].startswith(b"\x89PNG")


def test_a_window_gets_the_very_figure(monkeypatch):
    # on a machine with a display; the window itself is played
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure, seen = plot(IMAGES, MAPS), []
    monkeypatch.setattr(showing, "in_notebook", lambda: False)
    monkeypatch.setenv("DISPLAY", ":99")
    shown = pyplot.get_fignums
    monkeypatch.setattr(pyplot, "show", lambda: seen.extend(map(pyplot.figure, shown())))
    monkeypatch.setattr(pyplot, "isinteractive", lambda: False)
    pyplot.switch_backend("agg")
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "qt")
    show(figure)
    assert seen == [figure]
    assert pyplot.get_fignums() == []
