"""Deletion, insertion, perturbation and monotonicity: the score while parts come and go."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..registry import register_evaluator
from ..targets import ScoreKind
from .base import Evaluator
from .case import Case
from .compat import PicturesAndMap, grey, picture_and_map
from .evaluation import Array, Evaluation
from .removal import Fill, Removal, area, check_fill, filled, grid_regions

__all__ = ["Deletion", "DeletionInsertion", "Insertion", "Monotonicity", "Perturbation"]

_AXIS = "share of the picture"


class _Ordered(Evaluator):
    """Base of those that take out, or put in, regions in the order of relevance."""

    steps: int
    fill: Fill
    of: ScoreKind
    patch: int
    seed: int

    def _removal(self, case: Case) -> Removal:
        height, width = case.x.shape[2:]
        base = filled(case.x, self.fill, case.preprocessing)
        regions = grid_regions(height, width, self.patch)
        return Removal(case.x, case.heat, base, regions, self.steps, self.seed)

    def _set(self, steps: int, fill: Fill, of: ScoreKind, patch: int, seed: int) -> None:
        if steps < 1 or patch < 1:
            raise InputError(f"steps and patch must be at least 1; got {steps} and {patch}")
        self.steps, self.fill, self.of = steps, check_fill(fill), of
        self.patch, self.seed = patch, seed

    def _run_compat(
        self, given: PicturesAndMap, runs: dict[str, dict[str, bool]], steps: int | None
    ) -> dict[str, Any]:
        """InterpretDL's dictionary: the mean, the scores and the images of each run."""
        probe = given.probe
        removal = Removal(
            given.x, given.heat, grey(given), given.regions,
            steps or given.steps or 20, self.seed,
        )  # fmt: skip
        results: dict[str, Any] = {}
        for name, how in runs.items():
            scores = removal.curves(probe, given.target("probability"), **how)[0]
            rows = np.arange(len(scores))
            pixels = removal.images(rows, how.get("insert", False), how.get("least_first", False))
            results[name] = (float(scores.mean()), scores, given.preprocessing.restore(pixels))
        return results


@register_evaluator(
    "deletion_insertion",
    higher_is_better=True,
    paper="Petsiuk, Das, Saenko: RISE, Randomized Input Sampling for Explanation, 2018",
    url="https://arxiv.org/abs/1806.07421",
    aliases=("DeletionInsertionInterpreterEvaluator",),
)
class DeletionInsertion(_Ordered):
    """Area under the insertion curve minus area under the deletion curve.

    Deletion takes pixels out, the most relevant first; the faster the score falls, the better.
    Insertion starts from an empty picture and puts them in; the faster it rises, the better. Parts
    "deletion" (lower is better) and "insertion" (higher is better) hold the two areas, in [0, 1]
    for probabilities.

    Args:
        model, device, use_cuda, **common: see Evaluator.
        compute_deletion, compute_insertion: leave one out; the value then is the other.
        steps: equal steps from the whole picture to none.
        fill: what stands where pixels were taken out: "mean" (of each image and channel), "blur",
            "black", a number or an array that broadcasts to the images.
        of: the score that is watched.
        patch: side in pixels of the squares that are taken out together.
        seed: for the order of pixels with equal relevance.

    Raises:
        InputError: neither is to be computed, or an option is out of range.
    """

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        use_cuda: bool | None = None,
        compute_deletion: bool = True,
        compute_insertion: bool = True,
        *,
        steps: int = 20,
        fill: Fill = "mean",
        of: ScoreKind = "probability",
        patch: int = 1,
        seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(model, device, use_cuda, **common)
        if not (compute_deletion or compute_insertion):
            raise InputError("compute_deletion or compute_insertion must be true")
        self.compute_deletion, self.compute_insertion = compute_deletion, compute_insertion
        self.higher_is_better = compute_insertion
        self._set(steps, fill, of, patch, seed)

    def settings(self) -> dict[str, Any]:
        return {
            "compute_deletion": self.compute_deletion,
            "compute_insertion": self.compute_insertion,
            **super().settings(),
        }

    def evaluate_case(self, case: Case) -> Evaluation:
        removal = self._removal(case)
        curves: dict[str, Array] = {}
        if self.compute_deletion:
            curves["deletion"] = removal.curves(case.model, case.target(self.of))
        if self.compute_insertion:
            curves["insertion"] = removal.curves(case.model, case.target(self.of), insert=True)
        parts = {name: area(curve, removal.axis) for name, curve in curves.items()}
        both = len(parts) == 2
        value = parts["insertion"] - parts["deletion"] if both else next(iter(parts.values()))
        return self.result(value, parts=parts, curves=curves, axis=removal.axis, axis_label=_AXIS)

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
        given = picture_and_map(self, img_path, explanation, batch_size, resize_to, crop_to)
        runs = {}
        if self.compute_deletion:
            runs["deletion"] = {"insert": False}
        if self.compute_insertion:
            runs["insertion"] = {"insert": True}
        results: dict[str, Any] = {}
        found = self._run_compat(given, runs, limit_number_generated_samples)
        for name, (mean, scores, images) in found.items():
            results[f"{name}_score"] = mean
            results[f"{name[:3]}_probas"] = scores
            results[f"{name}_images"] = images
        return results


class _Half(DeletionInsertion):
    """One of the two curves, with the options of both."""

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        *,
        steps: int = 20,
        fill: Fill = "mean",
        of: ScoreKind = "probability",
        patch: int = 1,
        seed: int = 0,
        **common: Any,
    ) -> None:
        insert = self.info.higher_is_better
        super().__init__(
            model, device, None, not insert, insert,
            steps=steps, fill=fill, of=of, patch=patch, seed=seed, **common,
        )  # fmt: skip


@register_evaluator(
    "deletion",
    higher_is_better=False,
    paper="Petsiuk, Das, Saenko: RISE, Randomized Input Sampling for Explanation, 2018",
    url="https://arxiv.org/abs/1806.07421",
)
class Deletion(_Half):
    """Area under the score while pixels are taken out, the most relevant first.

    Options as DeletionInsertion has them.
    """


@register_evaluator(
    "insertion",
    higher_is_better=True,
    paper="Petsiuk, Das, Saenko: RISE, Randomized Input Sampling for Explanation, 2018",
    url="https://arxiv.org/abs/1806.07421",
)
class Insertion(_Half):
    """Area under the score while pixels are put into an empty picture, the most relevant first.

    Options as DeletionInsertion has them.
    """


@register_evaluator(
    "perturbation",
    higher_is_better=True,
    paper="Samek et al.: Evaluating the Visualization of What a Deep Neural Network Has Learned, "
    "2017",
    url="https://arxiv.org/abs/1509.06321",
    aliases=("PerturbationInterpreterEvaluator",),
)
class Perturbation(_Ordered):
    """Area between the curves of taking out the least and the most relevant parts first.

    Parts: "MoRF" (area with the most relevant first, lower is better), "LeRF" (least relevant
    first, higher is better) and "AOPC" (mean fall of the score under MoRF, higher is better).

    Args:
        model, device, **common: see Evaluator.
        compute_MoRF, compute_LeRF: leave one out; the value then is the other.
        steps, fill, of, patch, seed: see DeletionInsertion; squares of 9 pixels, as in the paper.

    Raises:
        InputError: neither is to be computed, or an option is out of range.
    """

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        compute_MoRF: bool = True,
        compute_LeRF: bool = True,
        *,
        steps: int = 20,
        fill: Fill = "mean",
        of: ScoreKind = "probability",
        patch: int = 9,
        seed: int = 0,
        **common: Any,
    ) -> None:
        super().__init__(model, device, **common)
        if not (compute_MoRF or compute_LeRF):
            raise InputError("compute_MoRF or compute_LeRF must be true")
        self.compute_MoRF, self.compute_LeRF = compute_MoRF, compute_LeRF
        self.higher_is_better = compute_LeRF
        self._set(steps, fill, of, patch, seed)

    def settings(self) -> dict[str, Any]:
        return {
            "compute_MoRF": self.compute_MoRF,
            "compute_LeRF": self.compute_LeRF,
            **super().settings(),
        }

    def evaluate_case(self, case: Case) -> Evaluation:
        removal = self._removal(case)
        curves: dict[str, Array] = {}
        if self.compute_MoRF:
            curves["MoRF"] = removal.curves(case.model, case.target(self.of))
        if self.compute_LeRF:
            curves["LeRF"] = removal.curves(case.model, case.target(self.of), least_first=True)
        parts = {name: area(curve, removal.axis) for name, curve in curves.items()}
        both = len(parts) == 2
        value = parts["LeRF"] - parts["MoRF"] if both else next(iter(parts.values()))
        if self.compute_MoRF:
            parts["AOPC"] = (curves["MoRF"][:, :1] - curves["MoRF"]).mean(axis=1)
        return self.result(value, parts=parts, curves=curves, axis=removal.axis, axis_label=_AXIS)

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
        given = picture_and_map(self, img_path, explanation, None, resize_to, crop_to)
        runs = {}
        if self.compute_MoRF:
            runs["MoRF"] = {"least_first": False}
        if self.compute_LeRF:
            runs["LeRF"] = {"least_first": True}
        results: dict[str, Any] = {}
        found = self._run_compat(given, runs, limit_number_generated_samples)
        for name, (mean, scores, images) in found.items():
            results |= {f"{name}_score": mean, f"{name}_probas": scores, f"{name}_images": images}
        return results


@register_evaluator(
    "monotonicity",
    higher_is_better=True,
    paper="Arya et al.: One Explanation Does Not Fit All, 2019",
    url="https://arxiv.org/abs/1909.03012",
)
class Monotonicity(_Ordered):
    """Share of steps at which the score does not fall while parts are put in, least relevant first.

    1 is a score that never falls, as the paper asks for; parts that speak against the class should
    have come first.

    Args:
        model, device, **common: see Evaluator.
        tolerance: a fall smaller than this, relative to the range of the curve, is none.
        steps, fill, of, patch, seed: see DeletionInsertion.
    """

    def __init__(
        self,
        model: Any = None,
        device: str | None = None,
        *,
        steps: int = 20,
        fill: Fill = "mean",
        of: ScoreKind = "probability",
        patch: int = 1,
        seed: int = 0,
        tolerance: float = 1e-6,
        **common: Any,
    ) -> None:
        super().__init__(model, device, **common)
        self.tolerance = tolerance
        self._set(steps, fill, of, patch, seed)

    def evaluate_case(self, case: Case) -> Evaluation:
        removal = self._removal(case)
        curve = removal.curves(case.model, case.target(self.of), insert=True, least_first=True)
        allowed = self.tolerance * np.ptp(curve, axis=1, keepdims=True)
        value: NDArray[Any] = (np.diff(curve, axis=1) >= -allowed).mean(axis=1)
        return self.result(
            value, curves={"insertion, least first": curve}, axis=removal.axis, axis_label=_AXIS
        )


DeletionInsertionInterpreterEvaluator = DeletionInsertion
PerturbationInterpreterEvaluator = Perturbation
