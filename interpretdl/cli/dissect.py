"""The commands `interpretdl dissect` and `interpretdl mini-broden`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from . import arguments as arg
from .outcome import REFUSED, say

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["dissect", "mini_broden"]

Seed = Annotated[int, typer.Option(metavar="N", min=0, help="For everything random.")]


def dissect(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Folder of a data set in Broden's layout.",
            parser=arg.given_path,
        ),
    ],
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            help="Layer whose units are dissected; may be repeated.  "
            "[default: the last with a height and a width]",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Where the results go. A run that was interrupted continues from there.",
            parser=arg.given_path,
        ),
    ] = Path("dissection"),
    model: arg.Model = arg.DEFAULT_MODEL,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Also dissect the units mixed by a random rotation.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only images of this split.")
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="The categories of labels that count, such as object,part,scene,texture,color.  "
            "[default: all]",
        ),
    ] = None,
    share: Annotated[
        float, typer.Option(metavar="X", help="Share of activations above a unit's threshold.")
    ] = 0.005,
    min_iou: Annotated[
        float, typer.Option("--min-iou", metavar="X", help="IoU from which a unit is a detector.")
    ] = 0.04,
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size", metavar="N", help="Side of the network's input.  [default: its own]"
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of strongest images kept for each unit.")
    ] = 10,
    seed: Seed = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start anew and replace the results.")
    ] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only read the data set and list its faults; no model runs."),
    ] = False,
    weights: arg.Weights = None,
    pretrained: arg.Pretrained = None,
    output: arg.Output = None,
    device: arg.Device = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images in one run of the model.")
    ] = 8,
    engine: arg.Engine = None,
    quiet: arg.Quiet = False,
) -> None:
    """Find the concepts that single units of a network detect (Network Dissection)."""
    from ..data_processor.readers import DEFAULT_MAX_PIXELS
    from ..dissection import Broden, check_broden
    from ..dissection import dissect as run
    from .models import subject_of

    if check:
        faults = check_broden(data)
        for fault in faults:
            say(fault)
        if faults:
            raise typer.Exit(REFUSED)
        if not quiet:
            say(f"{data}: no fault found")
        return
    if input_size is not None and not 1 <= input_size <= math.isqrt(DEFAULT_MAX_PIXELS):
        most = math.isqrt(DEFAULT_MAX_PIXELS)
        raise InputError(f"--input-size must be from 1 to {most}; got {input_size}")
    chosen = None if categories is None else [name.strip() for name in categories.split(",")]
    read = Broden(data, split, categories=chosen)
    subject = subject_of(model, weights, pretrained, output, "logits", device, batch_size, engine)
    found = run(
        subject,
        read,
        layer or [_last_layer(subject, input_size)],
        out,
        share=share,
        min_iou=min_iou,
        baseline=baseline,
        input_size=input_size,
        top=top,
        seed=seed,
        batch_size=batch_size,
        restart=restart,
        report=report,
    )
    if quiet:
        return
    for name, result in found.layers.items():
        say(f"{name}: {result.headline()}")
        for category, concepts in result.unique().items():
            if concepts:
                words = ", ".join(f"{concept} ({n})" for concept, n in concepts.items())
                say(f"  {category}: {words}")
    for path in (*found.files.values(), found.report):
        if path is not None:
            say(f"Wrote {path}")


def mini_broden(
    path: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder.", parser=arg.given_path)
    ],
    scenes: Annotated[int, typer.Option(metavar="N", min=1, help="Number of pictures.")] = 300,
    seed: Seed = 0,
    stamps: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Tux Paint's stamps as further objects, such as /usr/share/tuxpaint/stamps.",
            parser=arg.given_path,
        ),
    ] = None,
    quiet: arg.Quiet = False,
) -> None:
    """Make a small data set in Broden's layout, for `dissect`; nothing is downloaded."""
    from ..dissection import mini_broden as make
    from ..dissection import tuxpaint_objects

    make(path, scenes, seed, tuxpaint_objects(stamps) if stamps else None)
    if not quiet:
        say(f"Wrote {path}")


def _last_layer(subject: Subject, input_size: int | None) -> str:
    import numpy as np

    settings = subject.preprocessing
    size = input_size or (settings.crop if settings else None)
    if not settings or not size:
        raise InputError("this model does not say the size of its input: give --layer")
    blank = np.zeros((1, settings.channels, size, size), np.float32)
    return subject.probe.last_spatial_layer(blank)
