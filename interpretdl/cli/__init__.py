"""The command `interpretdl`."""

from .app import main

__all__ = ["main"]
