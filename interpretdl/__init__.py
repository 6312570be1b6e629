"""interpretdl: why a PaddlePaddle image classifier decided what it decided.

Paddle and everything that needs it are imported when the first name is used, so that the command
line can answer `--help` at once.
"""

import importlib
import importlib.util
import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

from . import processor as processor  # sets what Paddle reads at its first product
from .version import __version__ as __version__

if TYPE_CHECKING:  # all names, of which mypy follows no computed __all__
    from . import data_processor as data_processor
    from . import errors as errors
    from . import evaluator as evaluator
    from . import interpreter as interpreter
    from . import registry as registry
    from . import targets as targets
    from .api import *  # noqa: F403
    from .evaluator import *  # noqa: F403
    from .interpreter import *  # noqa: F403

# What is logged is for those who set up logging; without this Python prints it on standard error.
# Paddle has the root logger print what is of level INFO and above: notes on how something is
# computed are of level DEBUG.
logging.getLogger(__name__).addHandler(logging.NullHandler())
# Paddle says when it is imported that a compiler cache is missing, which nothing here needs.
warnings.filterwarnings("ignore", "No ccache found", module="paddle")


def _has_paddle() -> bool:
    try:
        return "paddle" in sys.modules or importlib.util.find_spec("paddle") is not None
    except ModuleNotFoundError:  # from a finder that blocks it
        return False


if not _has_paddle():
    raise ModuleNotFoundError(
        "interpretdl needs PaddlePaddle 3.0 or later: `pip install paddlepaddle` for the CPU, or "
        "the `paddlepaddle-gpu` build for your CUDA version",
        name="paddle",
    )

if not TYPE_CHECKING:  # a type checker would take every name to be there

    def __getattr__(name: str) -> Any:
        if not name.startswith("_") or name == "__all__":
            api = importlib.import_module(".api", __name__)
            for names in (vars(api), globals()):  # globals: modules of the package
                if name in names:
                    return names[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__getattr__("__all__")})
