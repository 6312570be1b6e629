"""Models exported for tests."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paddle

import interpretdl as it

__all__ = ["loaded", "saved", "saved_as_before"]


def saved(model: Any, folder: Path, *shapes: Sequence[int | None], dtype: str = "float32") -> Path:
    """The program's file of a model with inputs of these shapes, x0, x1, …"""
    specs = [paddle.static.InputSpec(list(shape), dtype, f"x{k}") for k, shape in enumerate(shapes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Paddle's own
        paddle.jit.save(model, str(folder / "inference"), input_spec=specs)
    return folder / "inference.json"


def loaded(model: Any, folder: Path, *shapes: Sequence[int | None], **settings: Any) -> Any:
    """The model exported and loaded, with what it says of itself."""
    new = it.load_exported(saved(model, folder, *shapes, **settings))
    for name in ("preprocessing", "class_names"):
        if hasattr(model, name):
            setattr(new, name, getattr(model, name))
    return new


def saved_as_before(model: Any, folder: Path, *shapes: Sequence[int | None]) -> Path:
    """The same in the format of Paddle 2."""
    from paddle.pir_utils import DygraphOldIrGuard

    with DygraphOldIrGuard():
        saved(model, folder, *shapes)
    return folder / "inference.pdmodel"
