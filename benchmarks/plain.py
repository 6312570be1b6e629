"""The floor: the passes that a method needs, by Paddle alone, in the batches that are best."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from interpretdl.probe.program import Program

from .inputs import BATCH, model_of
from .worker import Work, measured

SIZES = (1, 2, 4, BATCH)


def prepared(folder: Path, case: dict[str, Any], threads: int) -> Work:
    """Passes of one batch of each kind; `facts` says by how much to multiply."""
    model = model_of(case["model"], folder)
    for parameter in model.parameters():
        parameter.stop_gradient = True
    given = np.load(folder / "inputs.npz")
    passes = {"forward": _forward, "program": _program, "gradient": _gradient}
    units: list[tuple[Any, int, int]] = []
    # as many as fill a batch of the kind there is most of, and the others in proportion
    counts = sorted(case["passes"].items(), key=lambda item: -item[1])
    scale = 0.0
    for kind, count in counts:
        run = passes[kind](model, given["x"], given["labels"])
        size = _best(folder, f"{kind} {threads}", run, int(count))
        times = (
            max(1, round(min(count, BATCH) / size)) if not scale else round(count / scale / size)
        )
        scale = scale or count / (size * times)
        units.append((run, size, times))

    def batch() -> None:
        for run, size, times in units:
            for _ in range(times):
                run(size)

    return Work(batch, lambda: {"scale": scale, "sizes": [size for _, size, _ in units]})


def _forward(model: Any, x: Any, labels: Any) -> Callable[[int], Any]:
    def run(size: int) -> Any:
        with paddle.no_grad():
            return model(paddle.to_tensor(x[:size])).numpy()

    return run


def _program(model: Any, x: Any, labels: Any) -> Callable[[int], Any]:
    program = Program(model, lambda output: output, x[:2], ())
    return lambda size: program(x[:size])


def _gradient(model: Any, x: Any, labels: Any) -> Callable[[int], Any]:
    def run(size: int) -> Any:
        tensor = paddle.to_tensor(x[:size], stop_gradient=False)
        output = model(tensor)
        score = sum(output[i, int(label)] for i, label in enumerate(labels[:size]))
        return paddle.grad(score, tensor)[0].numpy()

    return run


def _best(folder: Path, key: str, run: Callable[[int], Any], count: int) -> int:
    """The batch with the least time an image; measured once for a run of the program."""
    path = folder / "best.json"
    known: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    if key not in known:
        run(BATCH)
        known[key] = {
            str(n): statistics.median(measured(lambda n=n: run(n))[0]["wall"] for _ in range(3)) / n
            for n in SIZES
        }
        path.write_text(json.dumps(known))
    return min((n for n in SIZES if n <= count), key=lambda n: known[key][str(n)])
