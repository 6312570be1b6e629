"""Show a figure where there is somebody to see it."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from ..progress import in_notebook

__all__ = ["in_notebook", "show"]


_log = logging.getLogger(__name__)


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin", "cygwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(figure: Figure) -> None:
    """Show a figure: in the notebook's cell, else in a window, else nothing happens.

    pyplot is imported only on a machine with a display. Without one, and where matplotlib has no
    toolkit for windows, nothing is shown and nothing is said.

    Args:
        figure: any matplotlib Figure.
    """
    if in_notebook():
        from IPython import display

        from .png import png_of

        library: Any = display  # its functions are untyped
        library.display(library.Image(data=png_of(figure), format="png"))
    elif _has_display():
        import matplotlib.pyplot as plt

        # FigureClass is how pyplot lets a caller make the figure: ours is ready
        make: Any = lambda *_args, **_kwargs: figure  # noqa: E731  # one line says it
        try:
            plt.figure(FigureClass=make)
        except ImportError as error:  # DISPLAY names a screen that is not there
            _log.debug("no window: %s", error)
            return
        if figure.canvas.required_interactive_framework is not None:
            plt.show()
        if not plt.isinteractive():
            plt.close(figure)
