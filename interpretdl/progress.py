"""Progress bars: shown when a person watches, silent otherwise."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

# Without ipywidgets tqdm.auto would warn in a notebook.
_WIDGETS = importlib.util.find_spec("ipywidgets") is not None
tqdm: Any = importlib.import_module("tqdm.auto" if _WIDGETS else "tqdm").tqdm

__all__ = ["in_notebook", "progress_bar", "show_progress"]

_shown = True


def show_progress(shown: bool) -> None:
    """Switch the package's progress bars on (default) or off, for this process."""
    global _shown
    _shown = shown


def in_notebook() -> bool:
    """Whether the code runs in a Jupyter kernel."""
    ipython: Any = sys.modules.get("IPython")
    # An IPython that nobody imported runs no kernel; importing it to ask would cost half a second.
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def progress_bar(total: int | None, description: str, unit: str = "it", **options: Any) -> Any:
    """A tqdm bar on standard error in a terminal or a notebook; without one it draws nothing.

    Bars that end within half a second are not drawn.
    """
    watched = in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    options = {"delay": 0.5, "leave": False, **options}
    return tqdm(
        total=total, desc=description, unit=unit, disable=not (_shown and watched), **options
    )
