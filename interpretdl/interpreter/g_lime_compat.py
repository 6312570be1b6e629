"""G-LIME as InterpretDL has it, and the global weights that it needs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import check_writable
from ..errors import InputError
from ..hints import check_value
from ..perturbation import Regions
from ..progress import progress_bar
from .base import Array
from .g_lime import GLIMEInterpreter, PriorMethod, check_force, towards_prior
from .global_weights import Aggregation, Clusters, GlobalWeights, checked_explanation
from .lime import Fitting
from .lime_compat import LIMECVInterpreter, Results, plainly

__all__ = ["GLIMECVInterpreter"]


class GLIMECVInterpreter(LIMECVInterpreter, GLIMEInterpreter):
    """LIME of a picture's probabilities towards global weights, with InterpretDL's arguments.

    `interpret` gives weights by region, see `LIMECVInterpreter`; `explain` is `GLIMEInterpreter`'s,
    which gives maps.

    Attributes:
        global_weights: {class: {cluster: weight}}, or None: see `set_global_weights` and
            `compute_global_weights`.
    """

    def compute_global_weights(
        self,
        g_name: Aggregation = "normlime",
        list_of_lime_explanations: Sequence[Mapping[str, Any]] | None = None,
        list_file_paths: Sequence[Any] | None = None,
        save_path: str | os.PathLike[str] | None = None,
        *,
        clusters: int | Clusters = 64,
    ) -> GlobalWeights:
        """Compute the global weights, and set them.

        Args:
            g_name: what is averaged over a cluster's regions: "normlime", w² / Σ|w|; "avg", |w|;
                "square", w².
            list_of_lime_explanations: LIME's results on pictures, `lime_results` of each.
            list_file_paths: or pictures, which are explained by LIME first.
            save_path: where they are saved, a .npy file for `set_global_weights`.
            clusters: of how many kinds regions are, at most. Or clusters that are there already,
                see `set_global_weights`.

        Returns:
            {class: {cluster: weight}}; `.clusters` says what the clusters are.

        Raises:
            InputError: not one of the two lists, or results that are none of LIME's.
        """
        if (list_of_lime_explanations is None) == (list_file_paths is None):
            raise InputError("give list_of_lime_explanations or list_file_paths, one of the two")
        check_value("g_name", g_name, Aggregation)
        if save_path is not None:
            check_writable(save_path, (".npy",))
        if list_file_paths is not None:
            explanations = self._lime_of_files(list_file_paths)
        else:
            explanations = [
                checked_explanation(one, f"explanation {i}")
                for i, one in enumerate(list_of_lime_explanations or [])
            ]
        if not explanations:
            raise InputError("no explanation was given: the list is empty")
        self.global_weights = GlobalWeights.of(self.subject, explanations, clusters, g_name)
        if save_path is not None:
            self.global_weights.save(save_path)
        return self.global_weights

    def _lime_of_files(self, paths: Sequence[Any]) -> list[Results]:
        found: list[Results] = []
        bar: Any
        with progress_bar(len(paths), "lime", "image") as bar:
            for path in paths:
                batch = self.subject.read(path)
                found += self._results(batch, None, 1, 1000, 50, None, plainly)[0]
                bar.update()
        return found

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        data: Any,
        interpret_class: Any = None,
        top_k: int = 1,
        prior_method: PriorMethod = "none",
        prior_reg_force: float = 1.0,
        num_samples: int = 1000,
        batch_size: int = 50,
        resize_to: int | None = None,
        crop_to: int | None = None,
        visual: bool = True,
        save_path: Any = None,
        *,
        regions: Regions | None = None,
    ) -> Any:
        """Weights of a picture's superpixels; prints the likeliest classes and draws the first.

        Args:
            prior_method: "ridge": towards the global weights of each class; "none": towards 0,
                which is ridge regression, not LIME.
            prior_reg_force: β, see `GLIMEInterpreter`.
            data, interpret_class, top_k, num_samples, batch_size, resize_to, crop_to, visual,
                save_path, regions: see `LIMECVInterpreter.interpret`.

        Returns:
            {class: [(region, weight)]} as `LIMECVInterpreter.interpret`. The weights are those of
            scaled columns, see `GLIMEInterpreter`.

        Raises:
            InputError: "ridge" without global weights; and what `LIMECVInterpreter.interpret`
                raises.
        """
        check_value("prior_method", prior_method, PriorMethod)
        check_value("prior_reg_force", prior_reg_force, float)
        check_force(prior_reg_force)
        weights = self._weights() if prior_method == "ridge" else None

        def fits(
            x: Array, picture: NDArray[np.uint8], cut: NDArray[np.int64], labels: list[int]
        ) -> list[Fitting]:
            priors: list[Array | None] = [None] * len(labels)
            if weights is not None:
                kinds = weights.clusters_of(self.probe, x, picture[None], [cut])[0]
                priors = [weights.prior(label, kinds) for label in labels]
            return [partial(towards_prior, prior=one, force=prior_reg_force) for one in priors]

        return self._interpreted(
            data, interpret_class, top_k, num_samples, batch_size, resize_to, crop_to, visual,
            save_path, regions, fits,
        )  # fmt: skip
