"""Consensus: one method's explanations of the same pictures by several models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..explanation import Explanation
from .base import Interpreter
from .compat import softmax, writes

__all__ = ["ConsensusInterpreter"]

Array = NDArray[Any]
_READING = ("resize_to", "crop_to", "frame")


class ConsensusInterpreter:
    """Explanations of the same pictures by several models, side by side or as their mean.

    What many models rely on is more likely to be in the picture than a habit of one of them; the
    mean says little of any single one. See Li et al., Cross-Model Consensus of Explanations and
    Beyond for Image Classification Models, 2021, https://arxiv.org/abs/2109.00707.

    Args:
        InterpreterClass: the method, such as it.SmoothGradInterpreter.
        list_of_models: the models, trained for the same classes.
        device: see `Interpreter`.
        kwargs: further arguments of the method's constructor.

    Raises:
        InputError: InterpreterClass is no Interpreter, or there are no models.
    """

    def __init__(
        self,
        InterpreterClass: type[Interpreter],
        list_of_models: Iterable[Any],
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not (isinstance(InterpreterClass, type) and issubclass(InterpreterClass, Interpreter)):
            raise InputError(
                "InterpreterClass must be a class of interpreters, such as "
                f"it.SmoothGradInterpreter; got {InterpreterClass!r}"
            )
        self.InterpreterClass, self.list_of_models = InterpreterClass, list(list_of_models)
        self.device, self.other_args = device, kwargs
        if not self.list_of_models:
            raise InputError("list_of_models is empty; give at least one model")
        self._interpreters = [
            InterpreterClass(model, device, **kwargs) for model in self.list_of_models
        ]

    def interpret(self, inputs: Any, **kwargs: Any) -> Array:
        """The method's values for each model; prints and draws nothing.

        Args:
            inputs: see `Interpreter.explain`.
            kwargs: the method's options. With label=None each model explains its own top class.

        Returns:
            float32 [models · N, …]: all images' values of the first model, then of the second.

        Raises:
            InputError: the models' values have different shapes; and what the method raises.
        """
        if writes(self.InterpreterClass, "interpret", Interpreter._interpret):
            found = [
                np.asarray(each.interpret(inputs, visual=False, save_path=None, **kwargs))
                for each in self._interpreters
            ]
        else:
            found = [each.explain(inputs, **kwargs).values for each in self._interpreters]
        shapes = [list(values.shape) for values in found]
        if not _alike(shapes) or not shapes[0]:
            raise InputError(
                f"values of shapes {shapes} do not fit into one array; explain() brings maps to "
                "the picture's size"
            )
        return np.concatenate(found)

    def explain(
        self, inputs: Any, label: Any = None, *, labels: Any = None, **options: Any
    ) -> Explanation:
        """The mean of the models' maps; prints and draws nothing.

        Each map is brought to the picture's size, the absolute values are summed over channels and
        scaled to a sum of 1, so that each model counts the same.

        Args:
            inputs: see `Interpreter.explain`.
            label: see `Interpreter.explain`. None: for each image the class whose probability is
                the largest in the mean over the models. `labels=` is the same.
            options: the method's.

        Returns:
            Explanation, values float32 [N, 1, H, W], or of the shape of inputs that are no
            pictures. Scores and probabilities are means over the models. The diagnostic
            "similarity" [N, models] is the cosine of the angle between each model's map and the
            mean; a model far from the others looks at other things.

        Raises:
            InputError: the models disagree on the picture's size or on the number of classes; and
                what the method raises.
        """
        if label is not None and labels is not None:
            raise InputError("label and labels are the same argument; give one of them")
        label = labels if label is None else label
        if label is None:
            label = self._likeliest(inputs, {k: options[k] for k in _READING if k in options})
        each = [one.explain(inputs, label=label, **options) for one in self._interpreters]
        first, shares = each[0], [_shares(one) for one in each]
        shapes = [list(one.shape) for one in shares]
        if not _alike(shapes):
            raise InputError(
                f"the models see pictures of different sizes, {shapes}: give resize_to= and "
                "crop_to=, or arrays"
            )
        maps = np.stack(shares)
        mean = maps.mean(axis=0)
        flat, centre = maps.reshape(*maps.shape[:2], -1), mean.reshape(len(mean), -1)
        sizes = np.linalg.norm(flat, axis=2) * np.linalg.norm(centre, axis=1)
        products = (flat * centre).sum(axis=2)
        similarity = np.divide(products, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        known = [one.probabilities for one in each if one.probabilities is not None]
        if not _alike([list(one.shape) for one in known]):
            raise InputError(f"the models have {[one.shape[1] for one in known]} classes")
        return Explanation(
            values=np.asarray(mean if first.images is None else mean[:, None], np.float32),
            labels=first.labels,
            scores=np.mean([one.scores for one in each], axis=0),
            images=first.images,
            method="consensus",
            target=first.target,
            probabilities=np.mean(known, axis=0) if known else None,
            parameters={**first.parameters, "method": first.method, "models": len(each)},
            diagnostics={"similarity": similarity.T},
            signed=False,
            class_names=first.class_names,
            sources=first.sources,
            failures=first.failures,
        )

    def _likeliest(self, inputs: Any, reading: dict[str, Any]) -> Any:
        """For each image the class that is the likeliest in the mean over the models."""
        batches = [each.subject.read(inputs, **reading) for each in self._interpreters]
        outputs = [
            each.probe.logits(batch.inputs)
            for each, batch in zip(self._interpreters, batches, strict=True)
        ]
        shapes = [list(one.shape) for one in outputs]
        if not _alike(shapes) or len(shapes[0]) != 2:
            raise InputError(
                f"the models' outputs are {shapes}, which are not the same classes: give label="
            )
        mean = np.mean([softmax(one) for one in outputs], axis=0)
        labels = np.zeros(batches[0].given, np.int64)
        labels[list(batches[0].indices)] = mean.argmax(axis=1)
        return labels


def _alike(shapes: list[list[int]]) -> bool:
    return all(shape == shapes[0] for shape in shapes)


def _shares(explanation: Explanation) -> NDArray[np.float64]:
    """Sizes of values, each item's with a sum of 1: [N, H, W], or of the values' shape."""
    pictures = explanation.images is not None
    sizes = explanation.heatmap(signed=False) if pictures else np.abs(explanation.values)
    sizes = sizes.astype(np.float64)
    sums = sizes.sum(axis=tuple(range(1, sizes.ndim)), keepdims=True)
    return np.asarray(np.divide(sizes, sums, out=np.zeros_like(sizes), where=sums > 0))
