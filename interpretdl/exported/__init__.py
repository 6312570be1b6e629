"""Exported models: programs of `paddle.jit.save` and Paddle's inference, as layers with names."""

from __future__ import annotations

from .load import load_exported
from .model import ExportedModel

__all__ = ["ExportedModel", "load_exported"]
