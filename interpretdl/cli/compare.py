"""The command `interpretdl compare`: methods side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from . import arguments as arg
from .outcome import for_each
from .pictures import find_pictures, save_paths

__all__ = ["compare"]


def compare(
    images: arg.Images,
    model: arg.Model = arg.DEFAULT_MODEL,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="May be repeated; `all` takes every method, and minutes.  "
            "[default: five of different kinds]",
        ),
    ] = None,
    label: arg.Label = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            "-o",
            metavar="PATH",
            help="File for one picture (.png, .jpg, .pdf, .svg, …), folder for several.  "
            "[default: IMAGE_compare.png in the current folder]",
            parser=arg.given_path,
        ),
    ] = None,
    style: Annotated[
        str, typer.Option(metavar="NAME", help="overlay, heatmap, signed or masked.")
    ] = "overlay",
    columns: Annotated[
        int | None,
        typer.Option(metavar="N", min=2, help="Panels side by side.  [default: up to 6]"),
    ] = None,
    top: arg.Top = 10,
    weights: arg.Weights = None,
    pretrained: arg.Pretrained = None,
    output: arg.Output = None,
    output_kind: arg.OutputKind = None,
    device: arg.Device = None,
    batch_size: arg.BatchSize = None,
    engine: arg.Engine = None,
    quiet: arg.Quiet = False,
) -> None:
    """Draw the maps of several methods beside a picture.

    `interpretdl evaluate` measures how good they are.
    """
    from ..data_processor.files import FIGURE_SUFFIXES, check_writable
    from ..data_processor.heatmaps import STYLES, check_choice
    from ..interpreter.base import prediction_lines
    from ..interpreter.explain_with import FEW, explain_with
    from ..registry import METHODS
    from .models import subject_of

    check_choice("style", style, [each for each in STYLES if each != "side_by_side"])
    asked = list(method or FEW)
    names: str | list[str] = "all" if asked == ["all"] else [METHODS.find(m).name for m in asked]
    if len(set(names)) < len(names) and names != "all":
        raise InputError(f"a method is given twice: {', '.join(names)}")
    wanted = arg.number_or_name(label)
    paths = find_pictures(images)
    several = len(images) > 1 or os.path.isdir(images[0])
    targets = save_paths(paths, save, "compare", several=several)
    for target in targets.values():
        check_writable(target, FIGURE_SUFFIXES)
    subject = subject_of(
        model, weights, pretrained, output, output_kind, device, batch_size, engine
    )

    def one(path: Path) -> list[str]:
        found = explain_with(names, subject, path, wanted)
        found.save(targets[path], style=style, columns=columns)
        first = next(iter(found.values()))
        lines = [] if first.probabilities is None else prediction_lines(first.top(top)[0])
        return [*lines, f"Explained: {first.label_names[0]}", f"Wrote {targets[path]}"]

    for_each(paths, one, "compare", quiet)
