"""Two repairs of the randomization check: fewer models, and maps with less noise."""

from __future__ import annotations

import numpy as np

from ..errors import InputError, UnsupportedModelError
from ..interpreter.sampling import counts
from ..progress import progress_bar
from ..registry import register_evaluator
from .base import Evaluator
from .case import Case, Explain, explainer_of
from .evaluation import Array, Evaluation, flagged
from .randomization import ModelRandomization, copied, layers_of, make_random, tensors_of

__all__ = ["EfficientMPRT", "SmoothMPRT"]

_HEDSTROEM = (
    "Hedström, Weber, Lapuschkin, Höhne: Sanity Checks Revisited: An Exploration to Repair the "
    "Model Parameter Randomisation Test, 2024"
)
_URL = "https://arxiv.org/abs/2401.06465"
_MOST_BINS = 100_000


def histogram_entropy(maps: Array, bins: int) -> Array:
    """Entropy of each map's histogram over its own range, in nats, float64 [n].

    NaN where a map is constant or not finite.
    """
    found = np.full(len(maps), np.nan)
    for i, one in enumerate(maps):
        if np.isfinite(one).all() and np.ptp(one):
            share = np.histogram(one, bins)[0] / one.size
            share = share[share > 0]
            found[i] = -(share * np.log(share)).sum()
    return found


@register_evaluator(
    "efficient_mprt",
    higher_is_better=True,
    paper=_HEDSTROEM,
    url=_URL,
    needs=("model", "interpreter"),
    random=True,
)
class EfficientMPRT(Evaluator):
    """How much more complex a map becomes when all weights are random, as a share: (ξ′ − ξ) / ξ.

        ξ = −Σ_b p_b ln p_b,    p_b: share of the map's values in bin b of its range

    ξ is the map of the model, ξ′ that of a copy with random weights. A map that has learned
    something to say should be simpler than that of noise; one that stays the same has 0. Only two
    models are compared, so `model_randomization`'s order of layers and noisy similarity do not
    matter. It does not say where the map points: a map that is made simpler by a threshold gains.
    One explanation for each of `n_draws`.

    Args:
        bins: of the histogram, in equal widths.
        n_draws: random models over which ξ′ is averaged.
        seed: of the weights.

    Raises:
        InputError: bins below 2 or above 100,000; n_draws below 1; the interpreter is not an
            Interpreter.
        UnsupportedModelError: the model cannot be copied, or no layer has parameters.
    """

    bins: int = 100
    n_draws: int = 1
    seed: int = 0

    def check(self) -> None:
        counts(n_draws=self.n_draws)
        if not 2 <= self.bins <= _MOST_BINS:
            raise InputError(f"bins must be from 2 to {_MOST_BINS}; got {self.bins}")

    def evaluate_case(self, case: Case) -> Evaluation:
        before = histogram_entropy(case.heat, self.bins)
        after = np.empty((self.n_draws, len(case.x)))
        names = layers_of(case.method.probe, case.x)
        if not names:
            raise UnsupportedModelError("no layer of this model has parameters to randomise")
        with progress_bar(self.n_draws, "efficient MPRT", "model") as bar:
            for draw in range(self.n_draws):
                twin = copied(case.method)
                for j, name in enumerate(names):
                    tensors = tensors_of(twin.probe.layer(name), deep=False)
                    make_random(tensors, np.random.default_rng([self.seed, draw, j]))
                values = explainer_of(twin, case.options)(case.x, case.score())
                after[draw] = histogram_entropy(case.heat_of(values), self.bins)
                bar.update()
        # a draw whose map is empty does not count
        mean = np.ma.masked_invalid(after).mean(axis=0).filled(np.nan)
        flags = flagged(np.isnan(mean), "the map of the random model is empty")
        return self.result(
            (mean - before) / before,
            parts={"complexity": before, "complexity, random model": mean},
            flags=flags,
        )


@register_evaluator(
    "smooth_mprt",
    higher_is_better=False,
    paper=_HEDSTROEM,
    url=_URL,
    needs=("model", "interpreter"),
    random=True,
)
class SmoothMPRT(ModelRandomization):
    """`model_randomization` of maps that are each averaged over pictures with noise.

    The maps of networks with random weights are noise, and so is their likeness to the first map;
    averaging both sides takes some of it away. Noise is the same for all models. `n_noisy`
    explanations for each layer.

    Args:
        n_noisy: pictures over which a map is averaged.
        noise: standard deviation of the noise, a share of the picture's range.

    Raises:
        InputError: an option is out of range; the interpreter is not an Interpreter.
        LayerNotFoundError: no layer of that name.
        UnsupportedModelError: the model cannot be copied, or no layer has parameters.
    """

    n_noisy: int = 10
    noise: float = 0.1

    def check(self) -> None:
        super().check()
        counts(n_noisy=self.n_noisy)
        if not 0 < self.noise <= 100:
            raise InputError(f"noise must be above 0 and at most 100; got {self.noise}")

    def _reference(self, case: Case) -> Array:
        return self._maps(case, case.explain)

    def _maps(self, case: Case, explain: Explain) -> Array:
        draws = [np.random.default_rng([self.seed, int(row), 1]) for row in case.rows]
        width = [self.noise * float(np.ptp(one)) for one in case.x]
        total = np.zeros(case.values.shape)
        for _ in range(self.n_noisy):
            noise = [
                rng.normal(0, w, case.x.shape[1:]) for rng, w in zip(draws, width, strict=True)
            ]
            noisy = (case.x + np.stack(noise)).astype(case.x.dtype)
            total += explain(noisy, case.score())
        return case.heat_of(total / self.n_noisy)
