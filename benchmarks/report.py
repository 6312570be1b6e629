"""The table in Markdown and JSON, and its chart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .cases import Case, reason
from .measure import Result

BEGIN, END = "<!-- table: python -m benchmarks -->", "<!-- end of the table -->"


def write(results: Sequence[Result], machine: dict[str, str], folder: Path) -> None:
    """results.json, results.md and chart.png."""
    folder.mkdir(parents=True, exist_ok=True)
    data = {"machine": machine, "results": [asdict(result) for result in results]}
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    (folder / "results.md").write_text(markdown(results, machine))
    chart(results, folder / "chart.png")


def read(paths: Sequence[Path]) -> tuple[list[Result], dict[str, str]]:
    """Results of several runs, in order, and the first one's machine."""
    runs = [json.loads(path.read_text()) for path in paths]
    results = []
    for run in runs:
        for row in run["results"]:
            results.append(Result(**{**row, "case": Case(**row["case"])}))
    return results, runs[0]["machine"]


def markdown(results: Sequence[Result], machine: dict[str, str]) -> str:
    """One table for each model and number of threads, and beneath it why goals are missed."""
    parts = [_machine(machine)]
    for model, threads in dict.fromkeys((r.case.model, r.threads) for r in results):
        rows = [r for r in results if (r.case.model, r.threads) == (model, threads)]
        title = model if threads == 1 else f"{model}, {threads} threads"
        parts.append(f"### {title}\n\n" + _table(rows))
    return "\n\n".join(parts) + "\n"


def _machine(machine: dict[str, str]) -> str:
    return "; ".join(f"{name}: {value}" for name, value in machine.items())


def _table(rows: Sequence[Result]) -> str:
    head = ("method", "images", "ms an image", "first run, s", "of its peer", "goal",
            "of the floor", "goal", "MB", "maps differ by")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    notes: list[str] = []
    for row in rows:
        case = row.case
        what = case.method + (f" {case.samples}" if case.samples else "")
        if row.failure:
            lines.append(f"| {what} | {case.batch} | {row.failure[:80]} |" + " |" * 7)
            continue
        time = [1000 * q / case.batch for q in row.wall["ours"]]
        peer = _ratio(row, "peer", case.goal, notes)
        peer = f"{peer} {case.peer}" if peer else ""
        cells = (
            what, str(case.batch), f"{time[1]:.0f} ({time[0]:.0f}–{time[2]:.0f})",
            f"{row.first['ours']:.1f}", peer, f"{case.goal}" if case.goal and peer else "",
            _ratio(row, "floor", case.floor, notes),
            f"{case.floor}" if "floor" in row.ratios else "",
            " / ".join(f"{row.memory[name][1]:.0f}" for name in ("ours", "peer")
                       if name in row.memory),
            "" if row.correlation is None else _difference(row),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes]).rstrip()


def _ratio(row: Result, against: str, goal: float, notes: list[str]) -> str:
    if against not in row.ratios:
        return ""
    low, middle, high = row.ratios[against]
    text = f"{middle:.2f} ({low:.2f}–{high:.2f})"
    if not goal or middle <= goal:
        return text
    why = reason(row.case, against) or "not yet known."
    note = f"- {row.case.method}, {row.case.batch}, {against} {middle:.2f} > {goal}: {why}"
    if note not in notes:
        notes.append(note)
    return f"**{text}**"


def _difference(row: Result) -> str:
    alike = f"{row.difference:.0e}, " if row.case.alike else ""
    return f"{alike}r = {row.correlation:.4f}"


def chart(results: Sequence[Result], path: Path) -> None:
    """Each case's time as a part of its peer's, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = [row for row in results if "peer" in row.ratios and row.threads == 1]
    if not shown:
        return
    figure, axes = plt.subplots(figsize=(8, 0.22 * len(shown) + 1), layout="constrained")
    models = list(dict.fromkeys(row.case.model for row in shown))
    for k, row in enumerate(shown):
        low, middle, high = row.ratios["peer"]
        axes.barh(k, middle, color=f"C{models.index(row.case.model)}", height=0.7)
        axes.plot([low, high], [k, k], color="black", linewidth=1)
        if row.case.goal:
            axes.plot([row.case.goal] * 2, [k - 0.4, k + 0.4], color="red", linewidth=2)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [f"{r.case.name} / {r.case.peer}" for r in shown], size=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xticks([0.05, 0.1, 0.2, 0.5, 1, 2], ["1/20", "1/10", "1/5", "1/2", "1", "2"])
    axes.set_xlabel("time here / time of the peer (red: goal)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def into_page(results: Sequence[Result], machine: dict[str, str], page: Path, image: Path) -> None:
    """Exchange the page's table and the chart."""
    text = page.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{markdown(results, machine)}\n{END}{after}")
    chart(results, image)
