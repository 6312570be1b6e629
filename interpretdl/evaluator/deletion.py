"""Deletion, insertion, perturbation and monotonicity: the score while parts come and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from ..interpreter.sampling import at_least, counts
from ..perturbation import Fill, Imputer, region_sums
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .compat import grey, picture_and_map
from .evaluation import Array, Evaluation
from .frames import Frames, chosen
from .removal import Removal, area, equal_steps

__all__ = ["Deletion", "DeletionInsertion", "Insertion", "Monotonicity", "Perturbation"]

Ways = Mapping[str, Mapping[str, bool]]
_RISE = "Petsiuk, Das, Saenko: RISE, Randomized Input Sampling for Explanation, 2018"
_RISE_URL = "https://arxiv.org/abs/1806.07421"


class _Ordered(Evaluator):
    """Base of those that take out, or put in, regions in the order of relevance."""

    steps: int = 20
    fill: Fill = "mean"
    gradient_of: ScoreKind | None = "probability"
    patch: int = 1
    frames: int = 0
    seed: int = 0

    def check(self) -> None:
        counts(steps=self.steps, patch=self.patch)
        at_least(0, frames=self.frames)

    def _removal(self, case: Case) -> Removal:
        if self.frames and case.part is not None:
            raise InputError("frames= keeps pictures; leave it out for texts")
        regions = case.regions(self.patch)
        relevance = case.relevance(regions)
        taken = equal_steps(relevance.shape[1], self.steps)
        return Removal(case.imputer(self.fill, regions), relevance, regions, taken, self.seed)

    def _drawn(self, case: Case, removal: Removal, curves: Mapping[str, Array]) -> dict[str, Any]:
        """Curves and their axis, as `result` takes them."""
        axis = removal.axis
        if case.part is not None:
            # Texts differ in how many words they have; their curves share an axis.
            axis = np.linspace(0, 1, self.steps + 1)
            curves = {
                name: np.stack([np.interp(axis, removal.axis, row) for row in rows])
                for name, rows in curves.items()
            }
        return {"curves": dict(curves), "axis": axis, "axis_label": f"share of the {case.whole}"}

    def _frames(self, case: Case, removal: Removal, **way: bool) -> Frames | None:
        """Pictures along a curve, where they are wanted."""
        if not self.frames:
            return None
        n, points = len(case.x), len(removal.axis)
        kept = chosen(self.frames, points)
        seen = [removal.images(np.arange(n) * points + point, **way) for point in kept]
        return Frames.of(case, seen, None, removal.axis[kept], f"share of the {case.whole}")


class _Areas(_Ordered):
    """Base of those whose value is the area under a curve, or between two."""

    ways: ClassVar[Ways]
    """The curves' names, and how `Removal.curves` makes them. Of two, a small area is good for the
    first and a large one for the second."""

    def _wanted(self) -> list[str]:
        """The curves that no option `compute_…` leaves out."""
        return [name for name in self.ways if getattr(self, f"compute_{name}", True)]

    def check(self) -> None:
        super().check()
        if not (wanted := self._wanted()):
            raise InputError(" or ".join(f"compute_{name}" for name in self.ways) + " must be true")
        if len(self.ways) == 2:
            self.higher_is_better = wanted[-1] == list(self.ways)[-1]

    def evaluate_case(self, case: Case) -> Evaluation:
        removal, target = self._removal(case), case.score(self.gradient_of)
        curves = {
            name: removal.curves(case.model, target, **self.ways[name]) for name in self._wanted()
        }
        parts = {name: area(curve, removal.axis) for name, curve in curves.items()}
        first, *second = parts.values()
        return self.result(
            second[0] - first if second else first,
            parts=parts | self._more(curves),
            frames=self._frames(case, removal, **self.ways[self._wanted()[0]]),
            **self._drawn(case, removal, curves),
        )

    def _more(self, curves: Mapping[str, Array]) -> dict[str, Array]:
        """Further numbers of the curves, [n] each."""
        return {}

    def _evaluate(
        self,
        picture: Any,
        explanation: Any,
        batch_size: int | None,
        resize_to: int | None,
        crop_to: int | None,
        steps: int | None,
    ) -> dict[str, Any]:
        """InterpretDL's dictionary: the mean, the scores and the images of each curve."""
        given = picture_and_map(self, picture, explanation, batch_size, resize_to, crop_to)
        relevance = region_sums(given.heat, given.regions)
        removal = Removal(
            Imputer(given.x, grey(given), given.preprocessing), relevance, given.regions,
            equal_steps(relevance.shape[1], steps or given.steps or 20), self.seed,
        )  # fmt: skip
        results: dict[str, Any] = {}
        for name in self._wanted():
            way = self.ways[name]
            scores = removal.curves(given.subject.probe, given.target("probability"), **way)[0]
            images = removal.images(np.arange(len(scores)), **way)
            short = {"deletion": "del", "insertion": "ins"}.get(name, name)
            results[f"{name}_score"] = float(scores.mean())
            results[f"{short}_probas"] = scores
            results[f"{name}_images"] = given.preprocessing.restore(images)
        return results


class _PutInAndOut(_Areas):
    """Base of deletion and insertion."""

    def evaluate(
        self,
        img_path: Any,
        explanation: Any,
        batch_size: int | None = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        limit_number_generated_samples: int | None = None,
    ) -> dict[str, Any]:
        """InterpretDL's call, for one picture. Pixels taken out are grey (127).

        Args:
            img_path: a picture, see `Interpreter.explain`.
            explanation: values [1, C, h, w], [1, h, w] or [h, w] (absolute values are summed over
                channels), or LIME's {"segmentation", "lime_weights"}, whose superpixels are taken
                out in their order.
            batch_size: most images in one run.
            resize_to, crop_to: in place of the model's own preprocessing.
            limit_number_generated_samples: steps; None is 20, or LIME's superpixels.

        Returns:
            "deletion_score" (the mean of), "del_probas" float [steps + 1] and "deletion_images"
            uint8 [steps + 1, H, W, 3]; "insertion_score", "ins_probas" and "insertion_images".
        """
        steps = limit_number_generated_samples
        return self._evaluate(img_path, explanation, batch_size, resize_to, crop_to, steps)


@register_evaluator(
    "deletion_insertion",
    higher_is_better=True,
    paper=_RISE,
    url=_RISE_URL,
    aliases=("DeletionInsertionInterpreterEvaluator",),
    inputs=("pictures", "text"),
)
class DeletionInsertion(_PutInAndOut):
    """Area under the insertion curve minus area under the deletion curve.

    Deletion takes pixels, or words, out, the most relevant first; the faster the score falls, the
    better. Insertion starts from an empty picture or text and puts them in; the faster it rises,
    the better. Parts "deletion" (lower is better) and "insertion" (higher is better) hold the two
    areas, in [0, 1] for probabilities.

    Args:
        compute_deletion, compute_insertion: leave one out; the value then is the other.

    Raises:
        InputError: neither is to be computed, or an option is out of range.
    """

    use_cuda: bool | None = field(default=None, kw_only=False)
    compute_deletion: bool = field(default=True, kw_only=False)
    compute_insertion: bool = field(default=True, kw_only=False)
    ways: ClassVar[Ways] = {"deletion": {"insert": False}, "insertion": {"insert": True}}


@register_evaluator(
    "deletion", higher_is_better=False, paper=_RISE, url=_RISE_URL, inputs=("pictures", "text")
)
class Deletion(_PutInAndOut):
    """Area under the score while pixels, or words, are taken out, the most relevant first."""

    ways: ClassVar[Ways] = {"deletion": {"insert": False}}


@register_evaluator(
    "insertion", higher_is_better=True, paper=_RISE, url=_RISE_URL, inputs=("pictures", "text")
)
class Insertion(_PutInAndOut):
    """Area under the score while pixels, or words, are put in, the most relevant first.

    It begins with an empty picture or text.
    """

    ways: ClassVar[Ways] = {"insertion": {"insert": True}}


@register_evaluator(
    "perturbation",
    higher_is_better=True,
    paper="Samek et al.: Evaluating the Visualization of What a Deep Neural Network Has Learned, "
    "2017",
    url="https://arxiv.org/abs/1509.06321",
    aliases=("PerturbationInterpreterEvaluator",),
    inputs=("pictures", "text"),
)
class Perturbation(_Areas):
    """Area between the curves of taking out the least and the most relevant parts first.

    Parts: "MoRF" (area with the most relevant first, lower is better), "LeRF" (least relevant
    first, higher is better) and "AOPC" (mean fall of the score under MoRF, higher is better).

    Args:
        compute_MoRF, compute_LeRF: leave one out; the value then is the other.
        patch: side in pixels of the squares that are taken out together; 9 as in the paper.

    Raises:
        InputError: neither is to be computed, or an option is out of range.
    """

    compute_MoRF: bool = field(default=True, kw_only=False)
    compute_LeRF: bool = field(default=True, kw_only=False)
    patch: int = 9
    ways: ClassVar[Ways] = {"MoRF": {"least_first": False}, "LeRF": {"least_first": True}}

    def _more(self, curves: Mapping[str, Array]) -> dict[str, Array]:
        if not self.compute_MoRF:
            return {}
        return {"AOPC": (curves["MoRF"][:, :1] - curves["MoRF"]).mean(axis=1)}

    def evaluate(
        self,
        img_path: Any,
        explanation: Any,
        resize_to: int | None = None,
        crop_to: int | None = None,
        limit_number_generated_samples: int | None = None,
    ) -> dict[str, Any]:
        """InterpretDL's call, for one picture: single pixels, taken out as grey (127).

        Args: see DeletionInsertion.evaluate.

        Returns:
            "MoRF_score" (the mean of), "MoRF_probas" float [steps + 1] and "MoRF_images" uint8
            [steps + 1, H, W, 3]; the same for "LeRF".
        """
        steps = limit_number_generated_samples
        return self._evaluate(img_path, explanation, None, resize_to, crop_to, steps)


@register_evaluator(
    "monotonicity",
    higher_is_better=True,
    paper="Arya et al.: One Explanation Does Not Fit All, 2019",
    url="https://arxiv.org/abs/1909.03012",
    inputs=("pictures", "text"),
)
class Monotonicity(_Ordered):
    """1 where the score never falls while parts are put in, least relevant first; else 0.

    The mean over images is the share of monotonic explanations, as the paper and its program
    (AIX360) have it. The part "share" is the share of the steps at which the score does not fall.
    Parts that speak against the class should have come first, those that speak for it later.

    The paper adds the columns of a table one by one. In a picture many parts without relevance come
    before those that count, and a probability falls while they bring in evidence for another class,
    although the map is right: on models whose truth is known both numbers rank methods at random or
    backwards. `monotonicity_correlation` does not depend on an order.

    Args:
        tolerance: a fall smaller than this, relative to the range of the curve, is none.
    """

    tolerance: float = 1e-6

    def evaluate_case(self, case: Case) -> Evaluation:
        removal, target = self._removal(case), case.score(self.gradient_of)
        curve = removal.curves(case.model, target, insert=True, least_first=True)
        allowed = self.tolerance * np.ptp(curve, axis=1, keepdims=True)
        holds = np.diff(curve, axis=1) >= -allowed
        return self.result(
            holds.all(axis=1),
            parts={"share": holds.mean(axis=1)},
            frames=self._frames(case, removal, insert=True, least_first=True),
            **self._drawn(case, removal, {"insertion, least first": curve}),
        )


DeletionInsertionInterpreterEvaluator = DeletionInsertion
PerturbationInterpreterEvaluator = Perturbation
