"""The commands `interpretdl dissect` and `mini-broden`. `cli.main` imports them when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ..progress import show_progress
from .app import REFUSED, Device, Model, Output, Pretrained, Quiet, Weights, _key, app
from .defaults import DEFAULT_MODEL

if TYPE_CHECKING:
    from ..probe import Probe

__all__ = ["dissect", "mini_broden"]

Seed = Annotated[int, typer.Option(metavar="N", help="For everything random.")]


@app.command()
def dissect(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder of a data set in Broden's layout.")
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
            help="Where the results go. A run that was ended goes on from what is there.",
        ),
    ] = Path("dissection"),
    model: Model = DEFAULT_MODEL,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Also with the units mixed by a random rotation.")
    ] = False,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only images of this split.")
    ] = None,
    share: Annotated[
        float, typer.Option(metavar="X", help="Of a unit's activations above its threshold.")
    ] = 0.005,
    min_iou: Annotated[
        float, typer.Option("--min-iou", metavar="X", help="From here on a unit is a detector.")
    ] = 0.04,
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size", metavar="N", help="Side of the network's input.  [default: its own]"
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Strongest images kept for each unit.")
    ] = 10,
    seed: Seed = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do it anew and replace what is there.")
    ] = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
    check: Annotated[
        bool,
        typer.Option("--check", help="Only read the data set and name every fault; no model runs."),
    ] = False,
    weights: Weights = None,
    pretrained: Pretrained = None,
    output: Output = None,
    device: Device = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images in one run of the model.")
    ] = 8,
    quiet: Quiet = False,
) -> None:
    """Find the concepts that single units of a network detect (Network Dissection)."""
    from ..dissection import Broden, check_broden
    from ..dissection import dissect as run
    from ..probe import Probe
    from .models import load_model

    show_progress(not quiet)
    if check:
        faults = check_broden(data)
        for fault in faults:
            typer.echo(fault)
        if faults:
            raise typer.Exit(REFUSED)
        if not quiet:
            typer.echo(f"{data}: no fault found")
        return
    read = Broden(data, split)
    network = load_model(model, weights=weights, pretrained=pretrained)
    found = run(
        network,
        read,
        layer or [_last_layer(Probe(network, device, _key(output)), input_size)],
        out,
        share=share,
        min_iou=min_iou,
        baseline=baseline,
        input_size=input_size,
        top=top,
        seed=seed,
        batch_size=batch_size,
        device=device,
        output=_key(output),
        restart=restart,
        report=report,
    )
    if quiet:
        return
    for name, result in found.layers.items():
        typer.echo(f"{name}: {result.headline()}")
        for category, concepts in result.unique().items():
            if concepts:
                words = ", ".join(f"{concept} ({n})" for concept, n in concepts.items())
                typer.echo(f"  {category}: {words}")
    for path in (*found.files.values(), found.report):
        if path is not None:
            typer.echo(f"Wrote {path}")


@app.command("mini-broden")
def mini_broden(
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    scenes: Annotated[int, typer.Option(metavar="N", min=1, help="Number of pictures.")] = 300,
    seed: Seed = 0,
    stamps: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Tux Paint's stamps as further objects, such as /usr/share/tuxpaint/stamps.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a small data set in Broden's layout, for `dissect`; nothing is downloaded."""
    from ..dissection import mini_broden as make
    from ..dissection import tuxpaint_objects

    show_progress(not quiet)
    make(path, scenes, seed, tuxpaint_objects(stamps) if stamps else None)
    if not quiet:
        typer.echo(f"Wrote {path}")


def _last_layer(probe: Probe, input_size: int | None) -> str:
    import numpy as np

    from ..preprocessing import IMAGENET

    preprocessing = getattr(probe.model, "preprocessing", None) or IMAGENET
    size = input_size or preprocessing.crop
    if size is None:
        raise InputError("this model does not say the size of its input: give --layer")
    blank = np.zeros((1, preprocessing.channels, size, size), np.float32)
    return probe.last_spatial_layer(blank)
