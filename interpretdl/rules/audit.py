"""Where relevance went: the sum at every seam, and what did not arrive on the other side."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray

from .base import Site

__all__ = ["Ledger", "Seam"]

Tensor: TypeAlias = "paddle.Tensor"
Array = NDArray[Any]


@dataclass
class Seam:
    """Relevance at one layer or operation, float64 [N] each.

    Attributes:
        name: the layer's, or the operation's.
        arrived: sum over the output.
        passed: what went on to the input.
        bias: what the bias kept.
        stabilizer: the rest: ε's share, and what had nowhere to go.
    """

    name: str
    arrived: Array
    passed: Array
    bias: Array

    @property
    def stabilizer(self) -> Array:
        return self.arrived - self.passed - self.bias


@dataclass
class Ledger:
    """Collects seams while relevance flows; give it to `Composite.observed`."""

    runs: list[list[Seam | str]] = field(default_factory=list)

    def begin(self) -> None:
        """A run begins."""
        self.runs.append([])

    def note(self, site: Site, y: Tensor) -> None:
        """Listen to the gradient at a site's new output, whose name holds its place till then."""
        run, place = self.runs[-1], len(self.runs[-1])
        run.append(site.name)
        value = y.detach()
        passed, bias = site.shares.get("input", value), site.shares.get("bias")

        def arrived(gradient: Tensor) -> None:
            def total(t: Tensor | None) -> Array:
                if t is None:
                    return np.zeros(len(gradient))
                product = (t * gradient).astype("float64")
                return np.asarray(product.reshape([len(product), -1]).sum(axis=1).numpy())

            run[place] = Seam(site.name, total(value), total(passed), total(bias))

        y.register_hook(arrived)

    def seams(self) -> list[Seam]:
        """One seam for each site, from the output to the input, batches joined."""
        # A run without any relevance was a first look at the model.
        runs = [run for run in self.runs if any(isinstance(s, Seam) for s in run)]
        places = [[s for s in sites if isinstance(s, Seam)] for sites in zip(*runs, strict=True)]
        # Where no relevance came by, the score does not depend on the place.
        return [_joined(found) for found in places if found][::-1]


def _joined(found: list[Seam]) -> Seam:
    return Seam(
        found[0].name,
        *(np.concatenate([getattr(s, f) for s in found]) for f in ("arrived", "passed", "bias")),
    )
