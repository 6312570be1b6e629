"""The command `interpretdl evaluate`, methods by metrics. `cli.main` imports it when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ..progress import show_progress
from .app import (
    SOME_FAILED,
    BatchSize,
    Device,
    Images,
    Model,
    Output,
    OutputKind,
    Pretrained,
    Quiet,
    Weights,
    _key,
    app,
)
from .defaults import DEFAULT_METHOD, DEFAULT_MODEL

if TYPE_CHECKING:
    from ..registry import MethodInfo

__all__ = ["evaluate"]

DEFAULT_METRICS = ("deletion", "insertion")


def _list(wanted: bool) -> None:
    if not wanted:
        return
    from ..evaluator import evaluators
    from ..evaluator.evaluation import better

    known = evaluators()
    width = max(map(len, known))
    for info in known.values():
        direction = better(info.higher_is_better).split()[0]
        typer.echo(f"{info.name:<{width}}  {direction:<6}  {info.summary}")
    raise typer.Exit


@app.command()
def evaluate(
    images: Images,
    model: Model = DEFAULT_MODEL,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help=f"See `interpretdl methods`; may be repeated.  [default: {DEFAULT_METHOD}]",
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
    label: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Class to explain, by name or number.  [default: each picture's most likely]",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME.OPTION=VALUE",
            help="An option of a method or metric, such as deletion.steps=10; may be repeated.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the table as CSV.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the table and figures as a page."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="FILE",
            help="A .json file that keeps what is done, and from which it is taken up again.",
        ),
    ] = None,
    resize_to: Annotated[
        int | None,
        typer.Option(metavar="N", help="Pixels of the short edge.  [default: the model's]"),
    ] = None,
    crop_to: Annotated[
        int | None, typer.Option(metavar="N", help="Side of the crop.  [default: the model's]")
    ] = None,
    weights: Weights = None,
    pretrained: Pretrained = None,
    output: Output = None,
    output_kind: OutputKind = None,
    device: Device = None,
    batch_size: BatchSize = None,
    quiet: Quiet = False,
    list_metrics: Annotated[
        bool,
        typer.Option("--list", help="List the metrics.", callback=_list, is_eager=True),
    ] = False,
) -> None:
    """Measure how good explanations are: a table of methods by metrics."""
    from .. import registry
    from ..data_processor.files import check_writable
    from ..evaluator import compare, find_evaluator
    from .models import load_model
    from .pictures import find_pictures

    # What can be refused is refused before the work.
    show_progress(not quiet)
    methods = {name: registry.find(name) for name in method or [DEFAULT_METHOD]}
    metrics = {name: find_evaluator(name) for name in metric or DEFAULT_METRICS}
    options = _options(option or [], {**methods, **metrics})
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
    network = load_model(model, weights=weights, pretrained=pretrained)
    common: dict[str, Any] = {
        "device": device,
        "output": _key(output),
        "output_kind": output_kind,
        "batch_size": batch_size,
    }
    result = compare(
        {name: (info.cls(network, **common), options[name]) for name, info in methods.items()},
        paths,
        {name: info.cls(**options[name]) for name, info in metrics.items()},
        label=int(label) if label is not None and label.lstrip("-").isdigit() else label,
        resize_to=resize_to,
        crop_to=crop_to,
        file=resume,
    )
    if not quiet:
        typer.echo(str(result))
    for target, write in ((csv, result.to_csv), (html, result.to_html)):
        if target is not None:
            write(target)
            if not quiet:
                typer.echo(f"Wrote {target}")
    if len(result.sources) < len(paths):
        raise typer.Exit(SOME_FAILED)


def _options(texts: list[str], known: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """ "deletion.steps=10" by method and metric, each value typed as its signature says."""
    from ..errors import did_you_mean
    from .options import parse_options

    given: dict[str, list[str]] = {name: [] for name in known}
    for text in texts:
        name, dot, rest = text.partition(".")
        if not dot or name not in known:
            raise InputError(
                f"an option is written NAME.OPTION=VALUE, with one of {', '.join(known)}; got "
                f"{text!r}{did_you_mean(name, known)}"
            )
        given[name].append(rest)
    return {
        name: parse_options(given[name], info.options, _owner(info), name)
        for name, info in known.items()
    }


def _owner(info: MethodInfo | Any) -> Any:
    """The function whose signature has the options."""
    return getattr(info.cls, "attribute", None) or info.cls.__init__
