"""Where relevance went: the sum at every seam, and what did not arrive on the other side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import paddle
from numpy.typing import NDArray

from .base import Site
from .redirect import Way

__all__ = ["Ledger", "Seam", "Tally", "total_of"]

Tensor: TypeAlias = "paddle.Tensor"
Array = NDArray[Any]


@dataclass
class Seam:
    """Relevance at one layer or operation, float64 [N] each.

    Attributes:
        name: the layer's, or the operation's.
        arrived: sum over the output.
        passed: what went on to the input.
        bias: what a bias or another constant summand (a position, a class token) kept: its share
            where the rule gives it one, and all of an output that only the bias raised.
        stabilizer: the rest; at a softmax what that keeps, or below 0 adds.
    """

    name: str
    arrived: Array
    passed: Array
    bias: Array

    @property
    def stabilizer(self) -> Array:
        return self.arrived - self.passed - self.bias


class Ledger:
    """Keeps account of every seam while relevance flows; give it to `Composite.observed`."""

    taps = True

    def __init__(self) -> None:
        self._runs: list[list[dict[str, Any]]] = []

    def begin(self) -> None:
        """A run begins."""
        self._runs.append([])

    def note(self, site: Site, y: Tensor, ways: Sequence[Way]) -> None:
        """Listen to the gradients in front of a site and behind it."""
        images = site.images  # hooks that held the site would keep the graph alive
        entry: dict[str, Any] = {"name": site.name}
        self._runs[-1].append(entry)

        def sums(column: str, of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], None]:
            def hook(gradient: Tensor) -> None:
                found = np.asarray(total_of(of(gradient).astype("float64"), images).numpy())
                entry[column] = entry.get(column, 0) + found

            return hook

        value = y.detach().clone()  # what follows may work in place
        y.register_hook(sums("arrived", lambda g: _times(g, value)))
        if site.constant is not None:
            y.register_hook(sums("bias", lambda g, c=site.constant: _times(g, c)))  # type: ignore[misc]
        for way in ways:
            kept = _of_the_bias(site, way)
            if kept is not None:
                y.register_hook(sums("bias", lambda g, k=kept: k * g))  # type: ignore[misc]
        # Copies that only this site reads, so their gradient is what this site passes on.
        for source in (*site.connected, *site.carriers):
            constant = source.detach()
            source.register_hook(
                sums("passed", lambda g, c=constant: _times(g, c))  # type: ignore[misc]
            )

    def seams(self) -> list[Seam]:
        """One seam for each site, from the output to the input, batches joined."""
        # A run without any relevance was one that had to be repeated.
        runs = [run for run in self._runs if any("arrived" in entry for entry in run)]
        found = []
        for entries in zip(*runs, strict=True):
            # Where no relevance came by, the score does not depend on the place.
            reached = [e for e in entries if "arrived" in e]
            if reached:
                columns = (
                    np.concatenate([e.get(column, np.zeros_like(e["arrived"])) for e in reached])
                    for column in ("arrived", "passed", "bias")
                )
                found.append(Seam(reached[0]["name"], *columns))
        return found[::-1]


class Tally:
    """Adds up what stabilizers keep of each item's score, at next to no cost."""

    taps = False

    def __init__(self) -> None:
        self._runs: list[list[Array]] = []

    def begin(self) -> None:
        """A run begins."""
        self._runs.append([])

    def note(self, site: Site, y: Tensor, ways: Sequence[Way]) -> None:
        """Listen to the gradients of what a site's relevance is redirected to."""
        run, images = self._runs[-1], site.images
        for way in ways:
            if way.stabilizer is not None:
                way.z.register_hook(
                    lambda g, s=way.stabilizer: run.append(
                        np.asarray(_weighed(g, s, images).numpy())
                    )
                )

    def kept(self) -> Array | float:
        """Float [N]; 0 where no rule told of a stabilizer."""
        runs = [np.sum(run, axis=0, dtype=np.float64) for run in self._runs if run]
        return np.concatenate(runs) if runs else 0.0


def _of_the_bias(site: Site, way: Way) -> Tensor | None:
    """What of y the bias keeps, as a constant."""
    if way.bias is not None:
        return way.bias * way.ratio
    if site.linear is None or site.linear.bias is None or way.stabilizer is None:
        return None
    alone = (way.z.detach().abs() <= way.stabilizer.abs()) & (site.value > 0)
    kept = way.stabilizer * way.ratio
    return paddle.where(alone, kept, paddle.zeros_like(kept))


def total_of(t: Tensor, images: int) -> Tensor:
    """Sum over each image; the windows of one follow each other along the first axis."""
    images = images or len(t)
    if len(t) % images:
        if t.ndim < 2 or t.shape[1] != images:
            return (t.sum() / images).expand([images])  # whose is whose cannot be told
        t = t.moveaxis(1, 0)
    return t.reshape([images, -1]).sum(axis=1)


def _times(gradient: Tensor, constant: Tensor) -> Tensor:
    """Their product; a masked -inf, which nothing depends on, counts 0."""
    product = constant * gradient
    return paddle.where(gradient.expand_as(product) == 0, paddle.zeros_like(product), product)


def _weighed(t: Tensor, weight: Tensor, images: int) -> Tensor:
    """Sum of t * weight over each item."""
    if t.ndim > 2 and weight.ndim == t.ndim and all(n == 1 for n in weight.shape[2:]):
        # Paddle's sums along the last axes are slow, products of matrices are not.
        flat = t.reshape([*t.shape[:2], -1])
        t = paddle.matmul(flat, paddle.ones([flat.shape[2]], t.dtype))
        weight = weight.reshape(weight.shape[:2])
    return total_of(t * weight, images)
