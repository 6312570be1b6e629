"""The leaderboard: methods held against what is known, and evaluators held against the methods.

    python docs/leaderboard.py                     # everything, some 40 minutes; writes docs/
    python docs/leaderboard.py --part evaluators   # or methods; the others stay as they are
    python docs/leaderboard.py --from-json         # the pages and the chart, from the numbers

It writes leaderboard.json, leaderboard.md, images/leaderboard.png, and a column of the table in
evaluators.md.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import interpretdl as it
from interpretdl.data_processor.canvas import Canvas, png_of
from interpretdl.data_processor.files import atomic_path
from interpretdl.registry import EVALUATORS

DOCS = Path(__file__).resolve().parent
PARTS = ("methods", "evaluators")
SUITES = ("planted", "trained", "parts", "shortcut")
SLOW = {"extremal_perturbation": ("extremal_perturbation", {"areas": (0.05,), "steps": 800})}
FEW = 6
"""Pictures that the slow ones explain."""
HEAD = """# Leaderboard: what to trust, and for what

Methods explain networks of which it is known what decides, and a grade says how much of it they
show: the share of the relevance that lies on what decides, 0 to 1, mean over pictures and problems.
The [page on truth](truth.md) says how it is known what decides, and what the four suites are. Below
a grade stands its 95 % interval, for other pictures of the same problems. **Bold**: this grade
cannot be told from the best of the column. *3 of 11*: the method explains only three of the eleven
problems, and refuses the networks of the others; its grade is of these three. A dash: it refuses
all of them. *Parts, in order* is another measure, the rank correlation of the relevance of a
creature's parts with their importance. Methods are in the order of the mean of the four grades;
those that refuse a whole suite come last.

`python docs/leaderboard.py` makes this page; `interpretdl truth` prints such a table in two
minutes. {machine}

![Grades of all methods in four suites](images/leaderboard.png)

"""
BETWEEN = """
The rows *random*, *centre* and *sobel* know no model: random numbers, a blob in the middle, and the
picture's edges. What is not above them has told nothing. Methods that draw samples had few of them,
as `it.truth.QUICK` says; times are of these options. `extremal_perturbation`, with 800 steps,
explained six pictures of each problem.

## What to trust, and for what

{advice}

## Do evaluators agree with the truth?

[Evaluators](evaluators.md) judge maps of networks of which the truth is not known. Here they judge
maps of these networks, and the table says whether they rank methods as the truth does: Spearman's
rank correlation over {methods} methods and controls of the evaluator's mean value with the mean
relevance mass, mean over {problems} problems. 1 is the same order, 0 no relation, −1 the order
backwards. The interval is for other pictures and other methods.

| evaluator | agreement | 95 % interval |
|---|---|---|
"""
AFTER = """
The problems are
{names}.

- **Sparseness and complexity know no network**, and agree because the evidence is small in most
  of these problems, so that a map of few pixels has more of it. A single pixel at a random place
  would be best of all. Do not choose a method by them.
- Of those that run the network, the ones that take out **many sets of parts** and compare
  amounts (`local_fidelity`, `sensitivity_n`) agree most. Those that take out pixels in one order
  (`deletion`, `insertion`, `perturbation`, `road`) agree too, within each other's intervals.
- **Stability** (`continuity`, `sensitivity_max`, `local_lipschitz`, the relative ones) has
  nothing to do with where the evidence lies: a map that never changes is the best. It is worth
  knowing for itself.
- **`monotonicity`** ranks by chance or backwards; its [section](evaluators.md) says why.

Evaluators that are given masks or boxes are not in the table, because here these are the truth
itself.
"""
ADVICE = """
- **A trained convolutional network**: `lrp` has the most relevance on what the networks use, in
  all three suites of trained ones, and moves with the class. `guided_grad_cam` comes close.
  `deep_lift`, `integrated_gradients` and `expected_gradients` leave more of it beside, but tell
  best which part matters more.
- **Evidence that is there twice**: in `planted/or` and `planted/more` the score does not change
  when one of the keys goes, and the maps of gradients, LRP and class activation maps are empty.
  `integrated_gradients`, `deep_lift`, `expected_gradients` and `shapley_sampling` find them all.
- **A vision transformer**: `lrp`, with `composite="attn_lrp"`, before `transformer_lrp` and
  `generic_attention`. `rollout` and class activation maps are not far from the controls.
- **Roughly where**: `grad_cam` and its relatives are fast and mostly point at the right place;
  half of their relevance or more lies around it.
- **Without gradients**: `sobol`, `shapley_sampling`, `occlusion` and `hsic`. With few samples
  `rise` and `g_lime` have most of their relevance elsewhere.
- **What is active is not what decides**: `eigen_cam`, `deconvnet` and, on the planted networks,
  `score_cam` show what excites a layer, and this may cancel out. Do not take them for an
  explanation of a class.
- **LRP on the planted networks** is worse than on trained ones. They cancel large activations
  exactly, and relevance is shared by activations.
""".strip()


def measure(parts: Sequence[str], before: dict[str, Any]) -> dict[str, Any]:
    """The numbers of the page; of parts that are not measured those of before."""
    from interpretdl.cli.info import facts

    known = dict(facts())
    found = dict(before)
    if "methods" in parts:
        found |= grades(it.truth.run(None, SUITES))
        slow = grades(it.truth.run(list(SLOW.values()), SUITES, pictures=FEW))
        for method in SLOW:
            for name, rows in slow["suites"].items():
                rows[method][3] = False  # on fewer pictures it cannot be held against the others
                found["suites"][name][method] = rows[method]
            for name, rows in slow["problems"].items():
                found["problems"][name][method] = rows[method]
            for name in ("seconds", "correlations"):
                found[name][method] = slow[name][method]
        found["machine"] = {name: known[name] for name in ("interpretdl", "Paddle", "processor")}
    if "evaluators" in parts:
        found["agreement"] = it.truth.judge(pictures=6).as_json()
    return found


def grades(table: Any) -> dict[str, Any]:
    """Of a TruthTable: means with intervals, who leads, and seconds a picture."""

    def cells(name: str, where: str) -> list[Any]:
        return [_round(v) for v in (table.mean(name, where), *table.interval(name, where))]

    leaders = {suite: table.leaders(suite) for suite in SUITES}
    seconds = {
        name: [found.seconds for (m, _), found in table.findings.items() if m == name]
        for name in table.methods
    }
    correlations = {name: _round(table.mean(name, "parts", "parts"), 2) for name in table.methods}
    return {
        "correlations": correlations,
        "pictures": {key: len(problem) for key, problem in table.problems.items()},
        "controls": list(table.controls),
        "suites": {
            suite: {
                name: [*cells(name, suite), name in leaders[suite], _explained(table, name, suite)]
                for name in table.methods
            }
            for suite in SUITES
        },
        "problems": {key: {n: cells(n, key) for n in table.methods} for key in table.problems},
        "seconds": {n: _round(float(np.nanmean(v)), 5) for n, v in seconds.items()},
    }


def _explained(table: Any, name: str, suite: str) -> list[int]:
    """How many of the suite's problems the method explains, and how many there are."""
    keys = [key for key, problem in table.problems.items() if problem.suite == suite]
    return [sum(not table[name, key].reason for key in keys), len(keys)]


def _round(value: float, digits: int = 4) -> float | None:
    return None if math.isnan(value) else round(value, digits)


def order(numbers: dict[str, Any]) -> list[str]:
    """Methods by their mean grade, best first; those that refuse a whole suite after the others."""
    means = {
        name: np.mean([s[name][0] for s in numbers["suites"].values() if s[name][0] is not None])
        for name in numbers["seconds"]
        if any(s[name][0] is not None for s in numbers["suites"].values())
    }
    refused = {
        name: any(rows[name][0] is None for rows in numbers["suites"].values()) for name in means
    }
    return sorted(means, key=lambda name: (refused[name], -means[name], name))


def page(numbers: dict[str, Any]) -> str:
    """leaderboard.md."""
    of = numbers["machine"]
    paddle, processor = of["Paddle"].split(", ")[0], of["processor"].split(";")[0]
    about = f"interpretdl {of['interpretdl']}, Paddle {paddle}, one thread of {processor}."
    text = HEAD.format(machine=about)
    heads = ("method", *SUITES, "parts, in order", "ms a picture")
    text += f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|\n"
    for name in order(numbers):
        cells = [_cell(*numbers["suites"][suite][name]) for suite in SUITES]
        seconds = numbers["seconds"][name]
        control = name in numbers["controls"]
        shown = f"*{name}*" if control else f"[`{name}`](methods/{name}.md)"
        order_of_parts = numbers["correlations"][name]
        cells.append("–" if order_of_parts is None else f"{order_of_parts:.2f}".replace("-", "−"))
        text += f"| {shown} | {' | '.join(cells)} | {_milliseconds(seconds)} |\n"
    found = numbers["agreement"]
    text += BETWEEN.format(
        advice=ADVICE, methods=len(found["methods"]), problems=len(found["problems"])
    )
    for row in found["rows"]:
        text += f"| `{row['evaluator']}` | {agreement_cell(row, ' | ')} |\n"
    names = textwrap.fill(", ".join(f"`{name}`" for name in found["problems"]), 98)
    return text + AFTER.format(names=names)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2g}" if seconds < 0.01 else f"{1000 * seconds:,.0f}"


def _cell(
    mean: float | None, low: float | None, high: float | None, leads: bool, explained: list[int]
) -> str:
    if mean is None or low is None or high is None:
        return "–"
    shown = f"**{mean:.2f}**" if leads else f"{mean:.2f}"
    some = "" if explained[0] == explained[1] else f", {explained[0]} of {explained[1]}"
    return f"{shown}<br>{low:.2f} to {high:.2f}{some}"


def agreement_cell(row: dict[str, Any], between: str = "<br>") -> str:
    """An evaluator's agreement with its interval."""
    if row["agreement"] is None:
        return "–" + between + "–" if between == " | " else "–"
    shown = [f"{row[key]:+.2f}".replace("-", "−") for key in ("agreement", "low", "high")]
    return f"{shown[0]}{between}{shown[1]} to {shown[2]}"


def with_agreement(text: str, numbers: dict[str, Any]) -> str:
    """evaluators.md with the last column of its table of metrics as it is now."""
    rows = {row["evaluator"]: row for row in numbers["agreement"]["rows"]}

    def line(match: re.Match[str]) -> str:
        name = match[2]
        cell = agreement_cell(rows[name]) if name in rows else "is given the truth"
        return f"{match[1]} {cell} |"

    names = "|".join(EVALUATORS.all())
    return re.sub(rf"^(\| `({names})` \|(?:[^|\n]*\|){{4}})[^|\n]*\|$", line, text, flags=re.M)


def chart(numbers: dict[str, Any]) -> bytes:
    """images/leaderboard.png: a panel for each suite, a line for each method."""
    names = order(numbers)
    figure = Canvas(figsize=(10, 0.9 + 0.19 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(SUITES), sharey=True)
    for axes, suite in zip(panels, SUITES, strict=True):
        for place, name in enumerate(names):
            mean, low, high, leads, _ = numbers["suites"][suite][name]
            if mean is None:
                continue
            colour = "#888888" if name in numbers["controls"] else "#1f77b4"
            axes.plot((low, high), (place, place), color=colour, linewidth=1.5)
            fill = colour if leads else "white"
            axes.plot(mean, place, "o", color=colour, markerfacecolor=fill, markersize=4)
        axes.set_xlim(min(-0.02, *(_lowest(numbers, suite))), 1.03)
        axes.set_title(suite, fontsize="small")
        axes.grid(linewidth=0.3)
        axes.tick_params(labelsize="x-small")
    panels[0].set_yticks(range(len(names)), names, fontsize="x-small")
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(
        "grade, with 95 % interval; filled: cannot be told from the best", size="small"
    )
    return png_of(figure, dpi=110)


def _lowest(numbers: dict[str, Any], suite: str) -> list[float]:
    return [row[1] - 0.02 for row in numbers["suites"][suite].values() if row[1] is not None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, help="measure only these")
    parser.add_argument("--from-json", action="store_true", help="measure nothing")
    given = parser.parse_args()
    kept = DOCS / "leaderboard.json"
    numbers = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    if not given.from_json:
        numbers = measure([given.part] if given.part else PARTS, numbers)
        with atomic_path(kept) as temporary:
            temporary.write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n", "utf-8")
    evaluators = DOCS / "evaluators.md"
    evaluators.write_text(with_agreement(evaluators.read_text("utf-8"), numbers), "utf-8")
    (DOCS / "leaderboard.md").write_text(page(numbers), "utf-8")
    (DOCS / "images" / "leaderboard.png").write_bytes(chart(numbers))


if __name__ == "__main__":
    main()
