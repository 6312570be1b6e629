"""The command `interpretdl truth`: methods on problems whose explanation is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments as arg
from .outcome import say
from .tables import echo_columns

__all__ = ["truth"]


def _list(wanted: bool) -> None:
    if not wanted:
        return
    from ..truth import SUITES

    rows = [
        [problem.suite, problem.name, problem.doc] for make in SUITES.values() for problem in make()
    ]
    echo_columns(rows)
    raise typer.Exit


def truth(
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            metavar="NAME",
            help="See `interpretdl methods`; may be repeated.  [default: all that are quick]",
        ),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(
            "--suite",
            metavar="NAME",
            help="A suite, or one problem of it as planted/keys; see --list; may be repeated.  "
            "[default: planted]",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Say, too, whether this metric ranks the methods as the truth does; see "
            "`interpretdl evaluate --list`; may be repeated.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME.OPTION=VALUE",
            help="An option of a method or metric, with its name before it; may be repeated.",
        ),
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Pictures of each problem.  [default: all]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR",
            help="A folder for truth.csv, truth.json, truth.png and maps.png, and agreement.csv of "
            "metrics; made if it is missing.",
            parser=arg.given_path,
        ),
    ] = None,
    quiet: arg.Quiet = False,
    list_suites: Annotated[
        bool,
        typer.Option("--list", help="List the suites' problems.", callback=_list, is_eager=True),
    ] = False,
) -> None:  # fmt: skip
    """Measure methods where the explanation is known: how much of a map lies on the truth."""
    from ..registry import EVALUATORS, METHODS
    from ..truth import SLOW, judge, run
    from ..truth.agreement import evaluators_of
    from .options import options_by_name

    # Mistakes are found before the work starts.
    infos = (
        [i for i in METHODS.all().values() if "pictures" in i.inputs and i.name not in SLOW]
        if method is None
        else [METHODS.find(name) for name in method]
    )
    known = {info.name: info for info in infos}
    found = {name: EVALUATORS.find(name) for name in metric or ()}
    options = options_by_name(option or [], {**known, **found})
    metrics = [(name, options.pop(name)) for name in found]
    if metrics:
        evaluators_of(metrics)
    table = run(list(known), suite, pictures=pictures, options=options, out=out)
    written = [] if out is None else [out / name for name in table.FILES]
    if not quiet:
        say(*str(table).splitlines())
    if metrics:
        judged = judge(metrics, list(known), suite, pictures=pictures or 8, options=options)
        if not quiet:
            say("", *str(judged).splitlines())
        if out is not None:
            written.append(judged.save(out))
    if not quiet:
        if method is None:
            say(*(f"{name}: not run unless it is named; {why}" for name, why in SLOW.items()))
        if written:
            say(*(f"Wrote {path}" for path in written))
