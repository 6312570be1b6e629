"""Reports as HTML: one file that needs no other and no network.

A report's template extends `templates/page.html`, which brings the style, dark mode, and the viewer
in which pictures are enlarged. Whatever is put into a template is escaped.
"""

from __future__ import annotations

import base64
import io
import os
import platform
import time
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..version import __version__
from .files import encodable

__all__ = ["data_uri", "jpeg_of", "made", "render_page"]


def render_page(package: str, template: str, **content: Any) -> str:
    """A report.

    Args:
        package: the one whose folder `templates` has the template.
        template: its name.
        content: what the template asks for. Texts are escaped.

    Returns:
        HTML that UTF-8 can hold.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(__package__)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return encodable(environment.get_template(template).render(**content))


def made() -> dict[str, str]:
    """When and with what: date, interpretdl, Paddle, NumPy, Python.

    The date is SOURCE_DATE_EPOCH's where that is set, so that a build can be repeated to the byte.
    """
    import paddle

    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(given) if given.isascii() and given.isdecimal() else time.time()
    date = datetime.fromtimestamp(seconds, timezone.utc)
    return {
        "date": f"{date:%Y-%m-%d %H:%M} UTC",
        "interpretdl": __version__,
        "Paddle": str(paddle.__version__),
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }


def jpeg_of(pixels: NDArray[np.uint8], quality: int = 75) -> bytes:
    """RGB pixels [H, W, 3] as a JPEG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def data_uri(content: bytes, kind: str = "jpeg") -> str:
    """A picture's file as the address of an <img>."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
