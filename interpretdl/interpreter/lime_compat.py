"""LIME as InterpretDL has it: several classes from the same samples, weights by region."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.arrays import Batch
from ..data_processor.bare import BARE_SUFFIXES
from ..data_processor.compat_visualizer import (
    overlay_threshold,
    save_image,
    show_vis_explanation,
    sp_to_array,
    sp_weights_to_image_explanation,
)
from ..data_processor.files import check_writable
from ..data_processor.readers import preprocess_save_path
from ..errors import InputError, ResourceError, TargetError, warn
from ..explanation import Explanation
from ..perturbation import Imputer, Regions, regions_of
from ..probe import Probe
from ..progress import progress_bar
from ..targets import ClassScore, check_labels, target_of
from .abc_interpreter import InputOutputInterpreter
from .base import Array, prediction_lines
from .compat import softmax
from .lime import Fitting, LIMEInterpreter, least_squares, proximity, subsets, warn_undetermined
from .sampling import counts, generator

__all__ = ["ClassesLIME", "LIMECVInterpreter", "Results", "plainly"]

Results = dict[str, Any]
Fits = Callable[[Array, NDArray[np.uint8], NDArray[np.int64], list[int]], list[Fitting]]
"""How scores of classes are fitted: from an image as input [1, C, H, W] and as picture, its regions
and the classes to a fitting for each class."""
_WIDTH = 0.25


class ClassesLIME(LIMEInterpreter, InputOutputInterpreter):
    """Base of LIME of probabilities of one class or several, fitted to the same samples.

    Args:
        model, device: see `Interpreter`.
        random_seed: of the samples of `interpret`; None is 0. The same call gives the same weights.
        options: by name, `Interpreter`'s other arguments.

    Attributes:
        lime_results: of the last `interpret`; a list where several items were given.
    """

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        random_seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, device, **options)
        self.random_seed = 0 if random_seed is None else random_seed
        generator(self.random_seed, 0)  # which looks at it
        self.lime_results: Any = {}

    def _chosen(self, given: Any, outputs: Array) -> list[int]:
        """The classes asked for; none where the likeliest are wanted."""
        if outputs.ndim != 2:
            raise TargetError(
                f"the model's output is {list(outputs.shape)}, not [N, K], so there is no class to "
                "take; pick a part of it with output="
            )
        if given is None:
            return []
        names = self.subject.names(outputs.shape[1])
        given = given.numpy() if hasattr(given, "numpy") else given
        given = np.ravel(given).tolist() if isinstance(given, np.ndarray) else given
        each = list(given) if isinstance(given, list | tuple) else [given]
        targets = [target_of(one, "probability", names, 1, [0]) for one in each]
        if not targets or not all(isinstance(one, ClassScore) for one in targets):
            raise TargetError(f"give one class or several; got {given!r}")
        labels = [int(one.labels) for one in targets if isinstance(one, ClassScore)]
        check_labels(np.array(labels), outputs.shape[1])
        return list(dict.fromkeys(labels))

    def _fitted(
        self,
        probe: Probe,
        make: Callable[[NDArray[np.bool_]], Array],
        players: int,
        rng: np.random.Generator,
        likely: NDArray[np.float64],
        fittings: Mapping[int, Fitting],
        samples: int,
        most: int,
    ) -> tuple[Results, dict[int, NDArray[np.float64]]]:
        """An item's probabilities and R² for some classes, and the weights of its players, [M].

        Args:
            probe: runs the model.
            make: inputs of rows bool [n, M], of which the players of 0 are filled.
            rng: of the samples.
            likely: [K], the item's own probabilities.
            fittings: of each class.
            samples: the item itself included.
            most: in one run of the model.
        """
        labels = list(fittings)
        z = np.ones((1, players), bool)
        z = np.concatenate([z, subsets(rng, samples - 1, players)])
        y = np.empty((samples, len(labels)))
        y[0], start = likely[labels], 1
        x = make(z[:1])
        bar: Any
        with progress_bar(samples - 1, self.info.name, "evaluation") as bar:
            while start < samples:
                size = min(most, probe.batch_plan(x, gradient=False))
                rows = slice(start, min(samples, start + size))
                y[rows] = softmax(probe.logits(make(z[rows])))[:, labels]
                bar.update(rows.stop - start)
                start = rows.stop
        results: Results = {
            "probability": {label: float(likely[label]) for label in labels}, "r2_scores": {},
        }  # fmt: skip
        weights = {}
        for (label, fit), scores in zip(fittings.items(), y.T, strict=True):
            fitted = fit(z, scores, proximity(z, _WIDTH))
            results["r2_scores"][label] = fitted.r2
            weights[label] = fitted.weights
        warn_undetermined(fitted, z)
        return results, weights


class LIMECVInterpreter(ClassesLIME):
    """LIME of a picture's probabilities, for one class or several, with InterpretDL's arguments.

    `interpret` fits all classes to the same samples and gives weights by region. `explain` is
    `LIMEInterpreter`'s, which gives maps.

    Args:
        model, device: see `Interpreter`.
        random_seed: of the samples of `interpret`; None is 0. The same call gives the same weights.
        options: by name, `Interpreter`'s other arguments.

    Attributes:
        lime_results: of the last `interpret`, {"probability": {class: p}, "input": uint8
            [H, W, 3], "segmentation": int64 [H, W], "r2_scores": {class: r²}, "lime_weights":
            {class: [(region, weight)]}}; a list of these where several pictures were given.
    """

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        data: Any,
        interpret_class: Any = None,
        top_k: int = 1,
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
            data: a picture, or several, as `Interpreter.explain` takes them.
            interpret_class: a class's index or name, or a list of them; None: the likeliest.
            top_k: how many of the likeliest, where interpret_class is None.
            num_samples: samples, the picture itself included.
            batch_size: at most so many pictures in one run of the model.
            resize_to, crop_to: see `Interpreter.explain`.
            visual: show the picture, where there is a notebook or a display: in green the fifth of
                the superpixels that speaks most for the first class.
            save_path: where that picture is saved; a list of paths for several pictures.
            regions: see `LIMEInterpreter.explain`; None: quickshift.

        Returns:
            {class: [(region, weight)]}, the largest |weight| first, for the likeliest class first
            or in the order given. For a list of pictures, or an array of several, a list of these.

        Raises:
            ImageReadError, InputError, TargetError, ResourceError, UnsupportedModelError.
        """
        return self._interpreted(
            data, interpret_class, top_k, num_samples, batch_size, resize_to, crop_to, visual,
            save_path, regions, plainly,
        )  # fmt: skip

    def _interpreted(
        self,
        data: Any,
        interpret_class: Any,
        top_k: int,
        num_samples: int,
        batch_size: int,
        resize_to: int | None,
        crop_to: int | None,
        visual: bool,
        save_path: Any,
        regions: Regions | None,
        fits: Fits,
    ) -> Any:
        counts(top_k=top_k, num_samples=num_samples, batch_size=batch_size)
        batch = self.subject.read(data, resize_to=resize_to, crop_to=crop_to)
        paths = preprocess_save_path(save_path, batch.given)
        for path in paths:
            if path is not None:
                check_writable(path, BARE_SUFFIXES)
        found, outputs = self._results(
            batch, interpret_class, top_k, num_samples, batch_size, regions, fits
        )
        several = isinstance(data, list | tuple) or batch.given > 1
        self.lime_results = found if several else found[0]
        explanation = _first_class(found, outputs, batch, self)
        self._remember(explanation)
        self._build_predict_fn(output="probability")
        for one, results, i in zip(explanation, found, batch.indices, strict=True):
            for line in prediction_lines(one.top(10)[0]):
                print(line)
            for label in results["lime_weights"]:
                print(f"Use label: {label}, {one._name(label)}")
            _draw(results, visual, paths[i])
        weights = [results["lime_weights"] for results in found]
        return weights if several else weights[0]

    def _results(
        self,
        batch: Batch,
        given: Any,
        top_k: int,
        samples: int,
        most: int,
        regions: Regions | None,
        fits: Fits,
    ) -> tuple[list[Results], Array]:
        """`lime_results` of each picture, and the model's outputs for them."""
        x, pictures, preprocessing = batch.inputs, batch.images, self.preprocessing
        if pictures is None or preprocessing is None:
            raise InputError("LIMECVInterpreter is for pictures; LIMEInterpreter explains arrays")
        cut = regions_of(x, self._cut(x, regions), preprocessing)
        imputer = Imputer(x, "region_mean", preprocessing, cut)
        found: list[Results] = []
        with self.probe.many(len(x) * samples):
            outputs = self.probe.logits(x)
            chosen = self._chosen(given, outputs)
            for i, likely in enumerate(softmax(outputs).astype(np.float64)):
                labels = chosen or np.argsort(-likely, kind="stable")[:top_k].tolist()
                fittings = fits(x[i : i + 1], pictures[i], cut[i], labels)

                def make(z: NDArray[np.bool_], i: int = i) -> Array:
                    return imputer.images(np.full(len(z), i), z[:, cut[i]])

                rng = generator(self.random_seed, i)
                results, weights = self._fitted(
                    self.probe, make, int(cut[i].max()) + 1, rng, likely,
                    dict(zip(labels, fittings, strict=True)), samples, most,
                )  # fmt: skip
                results |= {"input": pictures[i], "segmentation": cut[i], "lime_weights": {}}
                for label, each in weights.items():
                    order = np.argsort(-np.abs(each), kind="stable").tolist()
                    results["lime_weights"][label] = [(j, float(each[j])) for j in order]
                found.append(results)
        return found, outputs


def plainly(
    x: Array, picture: NDArray[np.uint8], cut: NDArray[np.int64], labels: list[int]
) -> list[Fitting]:
    """LIME's fitting for each class."""
    return [least_squares] * len(labels)


def _first_class(
    found: Sequence[Results], outputs: Array, batch: Batch, method: LIMECVInterpreter
) -> Explanation:
    """The results for each picture's first class as an Explanation."""
    labels = [next(iter(results["lime_weights"])) for results in found]
    maps = [
        sp_to_array(results["segmentation"], results["lime_weights"][label])
        for results, label in zip(found, labels, strict=True)
    ]
    return Explanation(
        values=np.stack(maps)[:, None],
        labels=np.array(labels),
        scores=np.array(
            [results["probability"][k] for results, k in zip(found, labels, strict=True)]
        ),
        images=batch.images,
        method=method.info.name,
        target=ClassScore(labels, "probability"),
        probabilities=softmax(outputs),
        signed=True,
        class_names=method.subject.names(outputs.shape[1]),
        sources=batch.sources,
    )


def _draw(results: Results, visual: bool, path: Any) -> None:
    """Show and save the superpixels that speak most for the first class, in green."""
    if not visual and path is None:
        return
    weights, image = results["lime_weights"], results["input"]
    mask = sp_weights_to_image_explanation(image, weights, None, results["segmentation"])
    drawn = overlay_threshold(image, mask)
    if path is not None:
        try:
            save_image(path, drawn)
        except (ResourceError, OSError) as error:  # the weights are not lost
            warn(f"{path} was not saved: {error}")
    if visual:
        show_vis_explanation(drawn)
