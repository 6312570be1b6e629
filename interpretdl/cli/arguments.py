"""Arguments and options that several commands share. Nothing here imports Paddle."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import InputError
from ..progress import show_progress

DEFAULT_METHOD = "grad_cam"
DEFAULT_MODEL = "efficientnet_lite0"

_MOST_DIGITS = 18


def given_path(text: str | Path) -> Path:
    """A path as it is typed; an empty one would be the current folder."""
    if text == "" or "\0" in str(text):
        wrong = "is empty" if text == "" else "holds a null character"
        raise typer.BadParameter(f"the path {wrong}")
    return Path(text)


Images = Annotated[
    list[Path],
    typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures.", parser=given_path),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="NAME",
        help="A name that `interpretdl models` lists, paddleclas:NAME for one of PaddleClas's, "
        "exported:inference.json for an exported model, or package.module:function for your own.",
    ),
]  # fmt: skip
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Weights for the model: .pdparams, .safetensors or torch's .pth.",
        parser=given_path,
    ),
]
Pretrained = Annotated[
    bool | None,
    typer.Option(
        "--pretrained/--no-pretrained",
        help="Published weights, which may be downloaded; or random ones.  "
        "[default: published ones for the default model; must be given for others]",
        show_default=False,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cpu, gpu or gpu:0.  [default: where Paddle puts it]"),
]
BatchSize = Annotated[
    int | None,
    typer.Option(metavar="N", help="Most inputs in one run.  [default: what the memory allows]"),
]
Engine = Annotated[
    Literal["dygraph", "onednn", "onednn-bf16"] | None,
    typer.Option(
        help="What runs forward passes.  [default: oneDNN where there are many]",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Which output, if the model returns several: index or key."),
]
OutputKind = Annotated[
    Literal["logits", "probabilities"] | None,
    typer.Option(help="What the model returns.  [default: detected]"),
]
Label = Annotated[
    str | None,
    typer.Option(
        metavar="CLASS",
        help="Class to explain, by name or number.  [default: each picture's most likely]",
    ),
]
Top = Annotated[int, typer.Option(metavar="N", min=1, help="Print the N most likely classes.")]


def _set_progress(quiet: bool) -> bool:
    show_progress(not quiet)
    return quiet


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Print only errors and warnings; no progress bar.",
        callback=_set_progress,
    ),
]  # fmt: skip


def number_or_name(text: str | None) -> int | str | None:
    """A class or an output as it is typed: "3" is a number, and all but plain digits a name.

    Raises:
        InputError: more digits than any index has.
    """
    if text is None or not re.fullmatch("-?[0-9]+", text):
        return text
    if len(text) > _MOST_DIGITS:
        raise InputError(f"{text[:_MOST_DIGITS]}… ({len(text)} characters) is no class or output")
    return int(text)
