"""How far estimates of Shapley values are from the exact ones, here and by other libraries.

    python -m benchmarks.shapley_error [--peers PYTHON]

The game is a smooth one of 16 players with interactions, so the exact values are known, and an
evaluation costs nothing: what differs is what is made of the same number of evaluations. Printed:
the root mean square of the relative error ‖φ − φ*‖ / ‖φ*‖ over 40 runs, for 64, 256 and 1024
evaluations. PYTHON is an environment with captum and SHAP.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PLAYERS, BUDGETS, RUNS = 16, (64, 256, 1024), 40


class Known:
    """A game whose Shapley values are known."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._inside, self._outside = rng.normal(size=(PLAYERS, 16)), rng.normal(size=16)
        self.players, self.evaluations = PLAYERS, 1
        self.whole, self.nothing = (
            float(self.values(np.full((1, PLAYERS), kept))[0]) for kept in (True, False)
        )

    def values(self, z: Array) -> Array:
        z = np.asarray(z, np.float64)
        inner = np.tanh(z @ self._inside / 2) @ self._outside
        return 1 / (1 + np.exp(-(inner + 0.7 * z[:, 0] * z[:, 1] * (1 - z[:, 2]))))

    def __call__(self, z: Array) -> Array:
        self.evaluations += len(z)
        return self.values(z)

    def exact(self) -> Array:
        """By the definition, over all subsets."""
        m = self.players
        z = (np.arange(2**m)[:, None] >> np.arange(m) & 1).astype(bool)
        scores, size = self.values(z), z.sum(axis=1)
        share = np.array([1 / (m * math.comb(m - 1, k)) for k in range(m)])
        found = np.empty(m)
        for j in range(m):
            without = np.flatnonzero(~z[:, j])
            found[j] = share[size[without]] @ (scores[without | 1 << j] - scores[without])
        return found


def errors(estimate: Callable[[Known, int, int], Array]) -> list[float]:
    """For each budget, of an estimator (game, evaluations, run) -> values."""
    exact = Known().exact()
    size = np.linalg.norm(exact)
    return [
        float(
            np.sqrt(
                np.mean(
                    [
                        (np.linalg.norm(estimate(Known(), n, run) - exact) / size) ** 2
                        for run in range(RUNS)
                    ]
                )
            )
        )
        for n in BUDGETS
    ]


def peers() -> dict[str, list[float]]:
    """captum and SHAP; runs in their environment."""
    import shap
    import torch
    from captum import attr

    def by_captum(name: str, per: int) -> Callable[[Known, int, int], Array]:
        def estimate(game: Known, n: int, run: int) -> Array:
            torch.manual_seed(run)
            np.random.seed(run)  # noqa: NPY002  # captum draws from the global generator
            method = getattr(attr, name)(lambda z: torch.from_numpy(game.values(z.numpy())))
            ones = torch.ones(1, PLAYERS, dtype=torch.float64)
            found = method.attribute(
                ones, torch.zeros_like(ones), n_samples=max(1, n // per), perturbations_per_eval=1
            )
            return found.numpy()[0]

        return estimate

    def by_shap(name: str, **options: Any) -> Callable[[Known, int, int], Array]:
        def estimate(game: Known, n: int, run: int) -> Array:
            np.random.seed(run)  # noqa: NPY002  # likewise
            zeros, ones = np.zeros((1, PLAYERS)), np.ones((1, PLAYERS))
            if name == "KernelExplainer":
                explainer = shap.KernelExplainer(game.values, zeros)
                return np.asarray(explainer.shap_values(ones, nsamples=n, silent=True, **options))[
                    0
                ]
            explainer = shap.PermutationExplainer(game.values, zeros, seed=run)
            return np.asarray(explainer(ones, max_evals=n, silent=True).values)[0]

        return estimate

    return {
        "captum KernelShap": errors(by_captum("KernelShap", 1)),
        "captum ShapleyValueSampling": errors(by_captum("ShapleyValueSampling", PLAYERS)),
        "SHAP KernelExplainer": errors(by_shap("KernelExplainer")),
        "SHAP KernelExplainer, l1_reg=False": errors(by_shap("KernelExplainer", l1_reg=False)),
        "SHAP PermutationExplainer": errors(by_shap("PermutationExplainer")),
    }


def ours() -> dict[str, list[float]]:
    from interpretdl.interpreter.kernel_shap import kernel_shap
    from interpretdl.interpreter.shapley_sampling import shapley_sampling

    def by(function: Callable[..., Any]) -> Callable[[Known, int, int], Array]:
        def estimate(game: Known, n: int, run: int) -> Array:
            found: Array = function(game, n, np.random.default_rng(run)).values
            return found

        return estimate

    return {
        "kernel_shap": errors(by(kernel_shap)),
        "shapley_sampling": errors(by(shapley_sampling)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", metavar="PYTHON", help="an environment with captum and SHAP")
    parser.add_argument("--only-peers", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_peers:
        print(json.dumps(peers()))
        return
    table = ours()
    if given.peers:
        command = [given.peers, "-W", "ignore", "-m", "benchmarks.shapley_error", "--only-peers"]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        table |= json.loads(run.stdout.splitlines()[-1])
    print(f"| | {' | '.join(map(str, BUDGETS))} |\n|---|{'---|' * len(BUDGETS)}")
    for name, row in table.items():
        print(f"| {name} | {' | '.join(f'{each:.3f}' for each in row)} |")


if __name__ == "__main__":
    sys.exit(main())
