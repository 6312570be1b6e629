"""A folder to work in, with a picture and a model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

OWN_MODEL = """
from interpretdl import Preprocessing
from interpretdl.testing import small_transformer
from tests.conftest import toy_network

def small():
    model = toy_network()
    model.preprocessing = Preprocessing(resize=24, crop=24)
    model.class_names = ("ant", "bee", "cat", "dog", "elk")
    return model

def needs(argument):
    return small()

def attends():
    model = small_transformer()
    model.preprocessing = Preprocessing(resize=16, crop=16)
    model.class_names = ("ant", "bee", "cat", "dog", "elk")
    return model

number = 7
"""


@pytest.fixture
def here(tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with photo.png and a module own_model_here."""
    (tmp_path / "photo.png").write_bytes(picture.read_bytes())
    (tmp_path / "own_model_here.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_model_here", raising=False)
    return tmp_path
