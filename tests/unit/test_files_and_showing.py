"""Writing files whole or not at all, and showing only where somebody sees it."""

from __future__ import annotations

import os
import subprocess
import sys
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

    monkeypatch.setattr(Path, "open", refuse)
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
