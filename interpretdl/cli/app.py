"""The command `interpretdl`: its commands, and what becomes of errors."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ..errors import InterpretError
from ..version import __version__
from .compare import compare
from .diff import diff
from .dissect import dissect, mini_broden
from .evaluate import evaluate
from .explain import explain, predict
from .info import info
from .outcome import (
    DONE,
    INTERRUPTED,
    REFUSED,
    UNREAD,
    OutputClosed,
    any_text,
    complain,
    say,
)
from .report import report
from .run import run
from .tables import methods, models
from .truth import truth

__all__ = ["main"]

app = typer.Typer(
    help="Explains what PaddlePaddle image classifiers look at.",
    epilog="Exit code: 0 all done; 1 some pictures could not be read, the others are done, or runs "
    "differ by more than the limits of `diff`; 2 wrong usage or an error, in one line on standard "
    "error; 130 Ctrl-C; 141 nobody reads what is printed, as after `| head`.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for _command in (
    explain, compare, predict, evaluate, truth, run, report, diff, methods, models, dissect,
    mini_broden, info,
):  # fmt: skip
    app.command()(_command)  # named as its function, with a hyphen for an underscore


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        say(f"interpretdl {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: instead of `sys.argv[1:]`.

    Returns:
        the exit code: 0 all done, 1 some pictures could not be read, 2 wrong usage or an error,
        130 interrupted, 141 standard output was closed.
    """

    def shown(message: Warning | str, *_: Any, **__: Any) -> None:
        complain(str(message), "warning")

    # Paddle has the root logger print what matplotlib tells of its fonts, when it first draws.
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    with warnings.catch_warnings(), any_text():
        warnings.showwarning = shown
        try:
            result = app(arguments, prog_name="interpretdl", standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            hint = f" (see {context.command_path} --help)" if context else ""
            complain(error.format_message() + hint)
            return REFUSED
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except (OutputClosed, BrokenPipeError):
            return UNREAD
        except InterpretError as error:
            complain(str(error))
        except OSError as error:  # the world's fault: a full disk, a folder that went away
            complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        except MemoryError as error:
            complain(f"not enough memory; {error}".rstrip("; "))
        else:
            return result if isinstance(result, int) else DONE
        return REFUSED
