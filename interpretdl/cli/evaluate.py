"""The command `interpretdl evaluate`: a table of methods by metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from . import arguments as arg
from .outcome import SOME_FAILED, say
from .pictures import find_pictures
from .tables import echo_columns

__all__ = ["evaluate"]

DEFAULT_METRICS = ("deletion", "insertion")


def _list(wanted: bool) -> None:
    if not wanted:
        return
    from ..evaluator.evaluation import better
    from ..registry import EVALUATORS

    echo_columns(
        [info.name, better(info.higher_is_better).split()[0], info.summary]
        for info in EVALUATORS.all().values()
    )
    raise typer.Exit


def evaluate(
    images: arg.Images,
    model: arg.Model = arg.DEFAULT_MODEL,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help=f"See `interpretdl methods`; may be repeated.  [default: {arg.DEFAULT_METHOD}]",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="See --list; may be repeated.  [default: deletion and insertion]",
        ),
    ] = None,
    label: arg.Label = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME.OPTION=VALUE",
            help="An option of a method or metric, such as deletion.steps=10; may be repeated.",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="FILE", help="Write the table as CSV.", parser=arg.given_path
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a report as one HTML file: table, spread, maps, curves and settings.",
            parser=arg.given_path,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            help="A .json file for finished cells. A run that was interrupted continues from it.",
            parser=arg.given_path,
        ),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Add rows of maps that know no model: random, centre, sobel."
        ),
    ] = False,
    resize_to: Annotated[
        int | None,
        typer.Option(metavar="N", help="Pixels of the short edge.  [default: the model's]"),
    ] = None,
    crop_to: Annotated[
        int | None, typer.Option(metavar="N", help="Side of the crop.  [default: the model's]")
    ] = None,
    weights: arg.Weights = None,
    pretrained: arg.Pretrained = None,
    output: arg.Output = None,
    output_kind: arg.OutputKind = None,
    device: arg.Device = None,
    batch_size: arg.BatchSize = None,
    engine: arg.Engine = None,
    quiet: arg.Quiet = False,
    list_metrics: Annotated[
        bool, typer.Option("--list", help="List the metrics.", callback=_list, is_eager=True)
    ] = False,
) -> None:
    """Measure how good explanations are: a table of methods by metrics."""
    from ..data_processor.files import check_writable
    from ..evaluator import compare
    from ..registry import EVALUATORS, METHODS
    from .models import subject_of
    from .options import options_by_name

    # Mistakes are found before the work starts.
    methods = {name: METHODS.find(name) for name in method or [arg.DEFAULT_METHOD]}
    metrics = {name: EVALUATORS.find(name) for name in metric or DEFAULT_METRICS}
    options = options_by_name(option or [], {**methods, **metrics})
    for name, info in metrics.items():
        if info.needs & {"masks", "boxes"}:
            raise InputError(
                f"{name} needs {' and '.join(sorted(info.needs))}, which the command line does not "
                "read; use interpretdl.evaluator.compare in Python"
            )
    for path, ending in ((csv, ".csv"), (html, ".html"), (resume, ".json")):
        if path is not None:
            check_writable(path, (ending,))
    paths = find_pictures(images)
    subject = subject_of(
        model, weights, pretrained, output, output_kind, device, batch_size, engine
    )
    result = compare(
        {name: (info.cls(subject), options[name]) for name, info in methods.items()},
        paths,
        {name: info.cls(**options[name]) for name, info in metrics.items()},
        label=arg.number_or_name(label),
        resize_to=resize_to,
        crop_to=crop_to,
        file=resume,
        controls=controls,
    )
    if not quiet:
        say(*str(result).splitlines())
    for target, write in ((csv, result.to_csv), (html, result.to_html)):
        if target is not None:
            write(target)
            if not quiet:
                say(f"Wrote {target}")
    if len(result.sources) < len(paths):
        raise typer.Exit(SOME_FAILED)
