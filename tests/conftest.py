"""What every test starts from: one thread, no display, and toy networks."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

# Paddle and matplotlib read these when they are imported, which is later. Several workers of eight
# threads each would be five times as slow, and Paddle complains of any number but 1.
os.environ["OMP_NUM_THREADS"] = "1"
# Paddle writes at home when it exports a model, and some users have none.
if not os.access(os.path.expanduser("~"), os.W_OK):
    os.environ["HOME"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)
for name in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
    os.environ.pop(name, None)

ROOT = Path(__file__).resolve().parents[1]


def toy_network(classes: int = 5, channels: int = 3, seed: int = 0) -> Any:
    """The contract's small network as a stranger: it says nothing of its pictures and classes."""
    from interpretdl.testing import small_network

    model = small_network(classes, channels, seed)
    del model.preprocessing, model.class_names
    return model


@pytest.fixture
def toy() -> Callable[..., Any]:
    """`toy(classes=5, channels=3, seed=0)`: a fresh network in eval mode."""
    return toy_network


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 40 x 32 pixels with a gradient in it."""
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    y, x = np.mgrid[:32, :40]
    Image.fromarray(np.stack([6 * x, 7 * y, 3 * (x + y)], -1).astype(np.uint8)).save(path)
    return path
