"""The command `interpretdl run`: a whole data set into a store."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import InputError
from . import arguments as arg
from .outcome import SOME_FAILED, complain, say

__all__ = ["run"]


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a .csv or .parquet with a column 'path' and maybe one 'label', or "
            "package.module:function for a data set.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", help="The store; it is made.", parser=arg.given_path
        ),
    ],
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
            help="See `interpretdl evaluate --list`; may be repeated.  [default: none]",
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
    explain: Annotated[
        Literal["prediction", "label"], typer.Option(help="Which class is explained.")
    ] = "prediction",
    folders: Annotated[
        bool,
        typer.Option("--labels-from-folders", help="A picture's label is the name of its folder."),
    ] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Processes; 0 does it in this one.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="A Ray cluster, or 'local' for one on this machine."),
    ] = None,
    map_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pixels of a map's longer side.")
    ] = 56,
    shard_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures in one file of the store.")
    ] = 64,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures explained together.")
    ] = 4,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of a worker.  [default: 1]")
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(metavar="S", min=0.001, help="How long one step of a worker may take."),
    ] = 600.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each shard, one a line.")
    ] = False,
    weights: arg.Weights = None,
    pretrained: arg.Pretrained = None,
    output: arg.Output = None,
    output_kind: arg.OutputKind = None,
    device: arg.Device = None,
    engine: arg.Engine = None,
    quiet: arg.Quiet = False,
) -> None:
    """Explain a whole data set into a folder of parquet files.

    A run that was interrupted goes on where it was when it is started again.
    """
    from ..registry import EVALUATORS, METHODS
    from ..runs import run as run_over
    from .options import options_by_name

    methods = _by_name("method", METHODS, method or [arg.DEFAULT_METHOD])
    metrics = _by_name("metric", EVALUATORS, metric or [])
    for name in {*methods} & {*metrics}:
        raise InputError(f"a method and a metric are both named {name!r}; run them one by one")
    options = options_by_name(option or [], {**methods, **metrics})
    given: dict[str, Any] = {
        "weights": weights, "pretrained": pretrained, "device": device,
        "output": arg.number_or_name(output), "output_kind": output_kind, "engine": engine,
    }  # fmt: skip
    found = run_over(
        source,
        {name: info.name for name, info in methods.items()},
        model,
        metrics={name: info.name for name, info in metrics.items()},
        out=out,
        options=options,
        labels="folders" if folders else None,
        explain=explain,
        workers=workers,
        ray=ray,
        map_size=map_size,
        shard_size=shard_size,
        batch_size=batch_size,
        threads=threads,
        seconds=seconds,
        on_shard=(lambda shard: say(json.dumps(shard))) if as_json else None,
        **{name: value for name, value in given.items() if value is not None},
    )
    errors = found.table(["picture", "error"])
    errors = errors.filter(errors["error"].is_valid())
    wrong = len(set(errors["picture"].to_pylist()))
    pictures = f"{found.pictures} picture{'' if found.pictures == 1 else 's'}"
    if not quiet and not as_json:
        say(f"{pictures}, {wrong} with an error", f"Wrote {out}")
    if wrong:
        text, count = Counter(errors["error"].to_pylist()).most_common(1)[0]
        complain(
            f"{wrong} of {pictures} could not be read or explained; the most frequent error, "
            f"{count} of {len(errors)}: {text}"
        )
        raise typer.Exit(SOME_FAILED)


def _by_name(kind: str, registry: Any, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        info = registry.find(name)
        if info in found.values():
            raise InputError(f"the {kind} {info.name!r} is given twice")
        found[name] = info
    return found
