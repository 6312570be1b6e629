"""The command `interpretdl truth`: methods on problems whose explanation is known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import arguments as arg
from .outcome import SOME_FAILED, complain, say
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
            help="Say, too, whether this metric ranks the methods as the truth does, on 8 pictures "
            "of each problem if --pictures is not given; see `interpretdl evaluate --list`; may be "
            "repeated. Without --method or --suite it takes those of the leaderboard.",
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
    from ..truth import SLOW, Agreement, TruthTable, judge, run
    from ..truth.grading import problems_of
    from ..truth.judging import METHODS_JUDGED, evaluators_of, judged_problems
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
    if out is not None:
        TruthTable.folder(out, (*TruthTable.FILES, *[Agreement.FILE] * bool(metrics)))
    problems = None if suite is None else problems_of(suite)
    shown = pictures or 8
    judged = judged_problems(problems, shown) if metrics else []
    table = run(list(known), problems, pictures=pictures, options=options, out=out)
    written = [] if out is None else [out / name for name in table.FILES]
    if not quiet:
        say(*str(table).splitlines())
    if metrics:
        names = METHODS_JUDGED if method is None else tuple(known)
        own = {name: each for name, each in options.items() if name in names}
        agreement = judge(metrics, list(names), judged, pictures=shown, options=own)
        if not quiet:
            say("", *str(agreement).splitlines())
        if out is not None:
            written.append(agreement.save(out))
    if not quiet:
        if method is None:
            say(*(f"{name}: not run unless it is named; {why}" for name, why in SLOW.items()))
        if written:
            say(*(f"Wrote {path}" for path in written))
    failed = False
    for name in known if method else ():
        reasons = [table[name, key].reason for key in table.problems]
        if all(reasons):
            complain(f"{name} explains none of the problems: {reasons[0]}")
            failed = True
    if failed:
        raise typer.Exit(SOME_FAILED)
