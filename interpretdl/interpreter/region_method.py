"""The base of methods that take regions out and watch the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import warn
from ..perturbation import Estimate, Fill, Game, Imputer, Regions, regions_of
from ..progress import progress_bar
from ..targets import TargetLike, scores_of, settled
from .base import Array, Attribution, Interpreter
from .sampling import at_least, counts, generator

__all__ = ["RegionMethod", "directed", "relative_error", "rounds"]

Estimator = Callable[[Game, np.random.Generator], Estimate]
_FIRST = 128


class RegionMethod(Interpreter):
    """Base of methods that ask for scores of an input with some of its regions filled.

    A method writes `attribute`, whose work is one call of `_estimated` with an estimator. Register
    it with `one_pass=True`: the model's outputs for the inputs themselves are needed anyway.
    """

    reads_ids = True

    def _estimated(
        self,
        x: Array,
        target: TargetLike,
        estimate: Estimator,
        evaluations: int | Callable[[int], int],
        *,
        regions: Regions | None,
        fill: Fill,
        seed: int = 0,
        tolerance: float | None = None,
    ) -> Attribution:
        """Values by an estimator, item by item.

        Args:
            x, target: see `Interpreter.attribute`.
            estimate: from an item's game and its random numbers to values of its regions.
            evaluations: about how many of the model each item takes, as a number or from the
                number of regions; for the progress bar and the choice of an engine.
            regions, fill: see `regions_of` and `Imputer`.
            seed: of the random numbers; an item's depend on it and on the item's position.
            tolerance: what `estimate` stopped at, if it was to; None: it was not.

        Returns:
            Values [N, 1, H, W] (or x's shape where x are no pictures), every pixel with its
            region's; diagnostics "evaluations" [N], "standard_error" like the values,
            "efficiency_error" [N] (|Σφ − (v(1) − v(0))| / |v(1) − v(0)| over regions), "converged"
            [N], "regions" [N, H, W].
        """
        preprocessing = self.preprocessing if x.ndim == 4 else None
        regions, fill = self._of_text(regions, fill)
        at_least(0, tolerance=tolerance)
        if not callable(evaluations):
            counts(evaluations=evaluations)
        cut = regions_of(x, regions, preprocessing)
        imputer = Imputer(x, fill, preprocessing, cut)
        rngs = [generator(seed, i) for i in range(len(x))]
        each = [evaluations(int(one.max()) + 1) if callable(evaluations) else evaluations
                for one in cut]  # fmt: skip
        found: list[Estimate] = []
        games: list[Game] = []
        name = self.info.name
        with self.probe.many(sum(each)), progress_bar(sum(each), name, "evaluation") as bar:
            outputs = self.probe.logits(x)
            target = settled(target, outputs)
            whole = scores_of(target, outputs)
            bar.update(len(x))
            for i, regions_here in enumerate(cut):
                games.append(
                    Game(self.probe, imputer, target, i, regions_here, float(whole[i]), bar)
                )
                found.append(estimate(games[i], rngs[i]))
        diagnostics = _diagnostics(x, games, found, tolerance, name)
        values = np.stack([_spread(x, g, e.values) for g, e in zip(games, found, strict=True)])
        return Attribution(values.astype(np.float32), diagnostics, outputs=outputs)

    def _of_text(self, regions: Regions | None, fill: Fill) -> tuple[Regions | None, Fill]:
        """Of a text its words, and the token that stands for nothing, unless others are given."""
        part = self.subject.part
        if part is None:
            return regions, fill
        if isinstance(fill, str) and fill == self.info.options["fill"].default:
            fill = part.blank
        return part.units if regions is None else regions, fill


def _spread(x: Array, game: Game, values: Array) -> Array:
    """Values of regions [M] at the pixels, [1, H, W]; those of pixels [H, W] as they are."""
    spread = values if values.ndim > 1 else values[game.regions]
    return spread[None] if x.ndim == 4 and spread.ndim == 2 else np.broadcast_to(
        spread, x.shape[1:]
    )  # fmt: skip


def _diagnostics(
    x: Array, games: list[Game], found: list[Estimate], tolerance: float | None, name: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        key: np.array([each.facts[key] for each in found]) for key in found[0].facts
    }
    for key in found[0].maps:
        facts[key] = np.stack(
            [_spread(x, g, e.maps[key]) for g, e in zip(games, found, strict=True)]
        ).astype(np.float32)
    if all(each.standard_error is not None for each in found):
        errors = [np.asarray(each.standard_error) for each in found]
        facts["standard_error"] = np.stack(
            [_spread(x, g, e) for g, e in zip(games, errors, strict=True)]
        ).astype(np.float32)
        if tolerance is not None:
            relative = np.array(
                [relative_error(each.values, each.standard_error) for each in found]
            )
            facts["converged"] = relative <= tolerance
            if not facts["converged"].all():
                worst = int(relative.argmax())
                warn(
                    f"the standard error of {name} is {relative[worst]:.1%} of the largest value "
                    f"of image {worst} after {games[worst].evaluations} evaluations, above the "
                    f"tolerance of {tolerance:.1%}; allow more with evaluations="
                )
    if all(each.sums for each in found):
        gains = np.array([game.whole - game.nothing for game in games])
        sums = np.array([each.values.sum() for each in found])
        facts["efficiency_error"] = np.abs(sums - gains) / np.where(gains == 0, 1, np.abs(gains))
    facts["evaluations"] = np.array([game.evaluations for game in games])
    flat = x.ndim == 4 and games[0].regions.ndim == 2  # of a picture, the same in all channels
    facts["regions"] = np.stack(
        [np.broadcast_to(g.regions, x.shape[2:] if flat else x.shape[1:]) for g in games]
    ).astype(np.int32)
    return facts


def rounds(budget: int, tolerance: float | None) -> list[int]:
    """How much of the budget has been used each time the standard error is looked at: all of it
    without a tolerance, else 128, 256, 512 and so on."""
    if tolerance is None:
        return [budget]
    doubled = [_FIRST * 2**k for k in range(64) if _FIRST * 2**k < budget]
    return [*doubled, budget]


def directed(found: Estimate, direction: bool) -> Estimate:
    """An index with the sign that `maps["direction"]` gives it, where that is wanted."""
    return replace(found, values=found.values * found.maps["direction"]) if direction else found


def relative_error(values: Array, standard_error: Any) -> float:
    """The largest standard error, as a share of the largest value."""
    largest = float(np.abs(values).max())
    error = float(np.max(standard_error))
    return error / largest if largest > 0 else (0.0 if error == 0 else np.inf)
