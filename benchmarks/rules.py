"""Time and memory of the rules, in units of one plain input gradient of the same model.

    python benchmarks/rules.py [--quick] [--models resnet50 vgg16] [--batches 1 8] [--repeats 7]

Time: the median over repeats of (rule / gradient), both run one right after the other. Memory:
peak of the process above what it needed before, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

LIMITS = {
    "epsilon": 1.3,
    "epsilon_plus": 2.0,
    "z_plus_box": 2.0,
    "epsilon_alpha2_beta1": 2.8,
    "epsilon_gamma_box": 3.5,
    "guided": 1.1,
}
MEMORY_LIMIT = 2.0


def prepare(name: str, batch: int) -> tuple[Any, Any, Any]:
    """A probe of the zoo's network (random weights), a batch at 224 x 224, and a target."""
    import interpretdl as it

    model = it.lrp_model.models()[name]()
    x = np.random.default_rng(0).normal(0, 1, (batch, 3, 224, 224)).astype(np.float32)
    return it.Probe(model, batch_size=batch), x, it.ClassScore(1)


def run(probe: Any, x: Any, target: Any, composite: str | None) -> float:
    """Seconds of one run."""
    from interpretdl import IMAGENET
    from interpretdl.rules import composite_of

    rules = None if composite is None else composite_of(composite, IMAGENET)
    start = time.perf_counter()
    probe.gradients(x, target, rules=rules)
    return time.perf_counter() - start


def peak(name: str, batch: int, composite: str | None) -> float:
    """Peak memory in MB of one run above the model's own, measured in a fresh process."""
    command = [sys.executable, __file__, "--peak", name, str(batch), composite or ""]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet50", "vgg16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="batch 1, three repeats, no memory")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        name, batch, composite = options.peak
        probe, x, target = prepare(name, int(batch))
        probe.logits(x[:1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run(probe, x, target, composite or None)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps((after - before) / 1024))
        return
    if options.quick:
        options.batches, options.repeats = [1], 3
    print(f"{'model':10} {'batch':>5} {'composite':22} {'time':>6} {'limit':>6} {'memory':>7}")
    for name in options.models:
        for batch in options.batches:
            probe, x, target = prepare(name, batch)
            run(probe, x, target, None)
            unit = None if options.quick else peak(name, batch, None)
            for composite, limit in LIMITS.items():
                run(probe, x, target, composite)
                ratios = []
                for _ in range(options.repeats):
                    gradient = run(probe, x, target, None)
                    ratios.append(run(probe, x, target, composite) / gradient)
                memory = "-" if unit is None else f"{peak(name, batch, composite) / unit:.2f}"
                print(
                    f"{name:10} {batch:5} {composite:22} {np.median(ratios):6.2f} {limit:6.1f} "
                    f"{memory:>7}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
