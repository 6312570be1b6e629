"""Train the networks of the trained suites anew and rewrite their weights.

    OMP_NUM_THREADS=1 python -m interpretdl.truth.train                 all of them
    OMP_NUM_THREADS=1 python -m interpretdl.truth.train keys_transformer --out weights

About a minute each, on a free core. On one processor, with one version of Paddle and one thread,
the same weights come out; elsewhere the last bits of sums differ, and with them the weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from numpy.typing import NDArray

from .creatures import SPECIES
from .networks import convolutional, inputs, transformer, weights
from .parts import species_pictures
from .shortcut import marked_pictures
from .trained import keys_pictures

__all__ = ["JOBS", "Job", "main", "train"]


@dataclass(frozen=True)
class Job:
    """How a network is trained.

    Attributes:
        network: makes it, with random weights.
        pictures: `(count, seed)` gives pictures in [0, 1] [N, 3, 64, 64] and answers: float32
            [N, K], where each of K things is there or not, or int64 [N], classes.
        epochs, rate, decay: passes, largest learning rate, weight decay.
        mirrored, turned: whether pictures are also seen in a mirror, and turned by quarters.
    """

    network: Callable[[], Any]
    pictures: Callable[[int, int], tuple[NDArray[np.float32], NDArray[Any]]]
    epochs: int
    rate: float = 1e-2
    decay: float = 0.01
    count: int = 6000
    mirrored: bool = True
    turned: bool = True


JOBS = {
    "keys_convolutional": Job(lambda: convolutional(3), keys_pictures, epochs=8),
    "keys_transformer": Job(
        lambda: transformer(3),
        partial(keys_pictures, coloured=True),
        epochs=8,
        rate=4e-3,
        decay=0.05,
        count=3000,
    ),
    "parts": Job(
        lambda: convolutional(len(SPECIES)), species_pictures, epochs=6, turned=False, count=4000
    ),
    "shortcut": Job(
        lambda: convolutional(3), marked_pictures, epochs=9, mirrored=False, turned=False
    ),
}
_BATCH = 32


def train(job: Job, seed: int = 0) -> Any:
    """A network with the weights that it has learned, in eval mode."""
    paddle.seed(seed)
    model, rng = job.network(), np.random.default_rng(seed)
    pictures, answers = job.pictures(job.count, seed + 1)
    steps = len(pictures) // _BATCH
    rate = paddle.optimizer.lr.OneCycleLR(job.rate, job.epochs * steps)
    optimizer = paddle.optimizer.AdamW(rate, parameters=model.parameters(), weight_decay=job.decay)
    loss_of = F.cross_entropy if answers.ndim == 1 else F.binary_cross_entropy_with_logits
    for epoch in range(job.epochs):
        model.train()
        order, total = rng.permutation(len(pictures)), 0.0
        for rows in order[: steps * _BATCH].reshape(steps, _BATCH):
            x = _moved(inputs(pictures[rows]), rng, job)
            loss = loss_of(model(paddle.to_tensor(x)), paddle.to_tensor(answers[rows]))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            rate.step()
            total += float(loss)
        print(f"epoch {epoch + 1} of {job.epochs}: loss {total / steps:.3f}", flush=True)
    model.eval()
    return model


def _moved(x: NDArray[np.float32], rng: np.random.Generator, job: Job) -> NDArray[np.float32]:
    """A batch mirrored and turned, all of it alike."""
    if job.mirrored and rng.integers(2):
        x = x[..., ::-1]
    if job.turned:
        x = np.rot90(x, int(rng.integers(4)), (2, 3))
    return np.ascontiguousarray(x)


def main(arguments: list[str] | None = None) -> None:
    """The command line; see the module's documentation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(JOBS)}; none: all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights")
    given = parser.parse_args(arguments)
    unknown = set(given.names) - set(JOBS)
    if unknown:
        parser.error(f"no network {sorted(unknown)[0]!r}; there are {', '.join(JOBS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names or JOBS:
        start = time.perf_counter()
        print(name, flush=True)
        model = train(JOBS[name])
        path = given.out / f"{name}.npz"
        np.savez_compressed(path, allow_pickle=False, **weights(model))
        print(
            f"{name}: {path.stat().st_size / 1000:.0f} kB, {time.perf_counter() - start:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
