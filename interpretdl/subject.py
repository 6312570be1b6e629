"""Subject: what is explained, a model, how things become its inputs, and its classes' names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .data_processor.readers import Batch, read_arrays, read_images, read_texts
from .errors import ImageReadError, InputError, UnsupportedModelError, warn
from .hints import check_value
from .lrp_model import imagenet_class_names
from .preprocessing import IMAGENET, Preprocessing
from .probe import EngineKind, FunctionModel, OutputKind, Probe
from .probe.inputs import rows_of
from .targets import ScoreKind, TargetLike, target_of
from .texts import Text, TextPreprocessing

__all__ = ["PreprocessingChoice", "Subject", "TextPart"]

PreprocessingChoice = Preprocessing | TextPreprocessing | None | Literal["model"]


@dataclass(frozen=True)
class TextPart:
    """The tokens of one text that are explained, as the input [1, t, ...] of its subject.

    Attributes:
        x: their ids int64 [1, t], or their vectors float [1, t, E].
        blank: like x, what stands in the words' places where there are no words.
        positions: int64 [t], where they stand among the text's tokens.
        units: int64 [t], the word that each belongs to, numbered from 0; -1 for special tokens.
    """

    x: NDArray[Any]
    blank: NDArray[Any]
    positions: NDArray[np.int64]
    units: NDArray[np.int64]


@dataclass(frozen=True)
class Subject:
    """A model, how raw things become its inputs, and the names of its classes.

    Attributes:
        probe: runs the model.
        preprocessing: how pictures become inputs; None: inputs are arrays as they are.
        class_names: a name for each class, or None where they are not known; see `names`.
        assumed: whether the preprocessing is ImageNet's because nothing said which it is. Float
            arrays that cannot be a batch of pictures are then taken as they are.
        text: how texts become inputs; None where it is no texts that are explained.
        part: of a subject that `within_text` gives, what its input is.
        argument: of several inputs the one that is explained, see `explaining`.
    """

    probe: Probe
    preprocessing: Preprocessing | None = IMAGENET
    class_names: tuple[str, ...] | None = None
    assumed: bool = False
    text: TextPreprocessing | None = None
    part: TextPart | None = None
    argument: int | str | None = None

    @classmethod
    def of(
        cls,
        model: Any,
        device: str | None = None,
        *,
        output: int | str | Callable[[Any], Any] | None = None,
        output_kind: OutputKind | None = None,
        batch_size: int | None = None,
        preprocessing: PreprocessingChoice = "model",
        class_names: Sequence[str] | None = None,
        engine: EngineKind | None = None,
    ) -> Subject:
        """The subject that a model is, with what the model says of itself.

        Args:
            model: paddle.nn.Layer in any mode, or a paddle.Model; a Subject is returned as it is.
            device, output, output_kind, batch_size, engine: see Probe.
            preprocessing: how pictures or texts become inputs; "model" takes
                `model.preprocessing`, or ImageNet's; None takes arrays as they are.
            class_names: a name for each class; None takes `model.class_names`, or ImageNet's for a
                model with 1000 classes.

        Raises:
            InputError: an argument that does not fit.
        """
        if isinstance(model, Subject):
            given = (device, output, output_kind, batch_size, class_names, engine)
            if preprocessing != "model" or any(each is not None for each in given):
                raise InputError(
                    "a Subject says itself which device, output, preprocessing, … it has; give it "
                    "alone, or its model"
                )
            return model
        probe = Probe(model, device, output, batch_size, output_kind, engine)
        own = getattr(probe.model, "preprocessing", None)
        chosen = (own or IMAGENET) if preprocessing == "model" else preprocessing
        if not isinstance(chosen, Preprocessing | TextPreprocessing | None):
            raise InputError(
                "preprocessing must be a Preprocessing, a TextPreprocessing, None (arrays as they "
                f"are) or 'model' (the model's own); got {preprocessing!r}"
            )
        text = chosen if isinstance(chosen, TextPreprocessing) else None
        class_names = getattr(class_names, "tolist", lambda: class_names)()  # an array
        check_value("class_names", class_names, Sequence[str] | None)
        names = getattr(probe.model, "class_names", None) if class_names is None else class_names
        return cls(
            probe,
            chosen if isinstance(chosen, Preprocessing) else None,
            None if names is None else tuple(names),
            assumed=preprocessing == "model" and own is None,
            text=text,
        )

    @classmethod
    def from_function(
        cls,
        function: Callable[..., Any],
        *,
        preprocessing: Preprocessing | None = None,
        class_names: Sequence[str] | None = None,
        output_kind: OutputKind | None = None,
        batch_size: int | None = 64,
    ) -> Subject:
        """A subject whose model is any function, which methods without gradients explain.

            lime = it.LIMEInterpreter(it.Subject.from_function(f, preprocessing=it.IMAGENET))

        Args:
            function: from an array float [n, ...], the inputs, to scores [n, K], or [n] for one
                score. It is called with at most `batch_size` items, and must give the same scores
                for the same items. For pictures the inputs are [n, C, H, W], normalised by
                `preprocessing`.
            preprocessing: how pictures become inputs; None: the inputs are arrays as they are, such
                as a table's rows [n, F].
            class_names: a name for each of the K scores.
            output_kind: "logits", "probabilities", or None (noticed); see Probe.
            batch_size: most items in one call.

        Raises:
            InputError: an argument that does not fit. When it is called: UnsupportedModelError,
                when the function does not give numbers with one row for each item, or is asked for
                gradients.
        """
        return cls.of(
            FunctionModel(function), output_kind=output_kind, batch_size=batch_size,
            preprocessing=preprocessing, class_names=class_names, engine="dygraph",
        )  # fmt: skip

    def with_batch_size(self, batch_size: int | None) -> Subject:
        """The same subject, which runs at most so many items at once; None changes nothing."""
        if batch_size is None:
            return self
        p = self.probe
        probe = Probe(p.model, None, p.output, batch_size, p.output_kind, p.engine)
        return replace(self, probe=probe)

    def at_layer(self, name: str) -> Subject:
        """The part of the model that ends with that layer, which has no classes.

        Raises:
            LayerNotFoundError: no such layer.
        """
        return replace(self, probe=self.probe.at_layer(name), class_names=None)

    def explaining(self, argument: int | str) -> Subject:
        """The same subject, of whose several inputs this one is explained, the others held fixed.

            subject = it.Subject.of(model, preprocessing=None).explaining("mask")
            it.GradientInterpreter(subject).explain({"image": x, "mask": mask})

        Args:
            argument: its position in a tuple of inputs, or its name in a dict. Where nothing is
                said it is the first array of floats.
        """
        check_value("argument", argument, int | str)
        return replace(self, argument=argument)

    def explained_of(self, inputs: Any) -> int | str | None:
        """Which of several inputs is explained; None where there is one input.

        Raises:
            InputError: there is no such input, or it holds no floats.
        """
        if not isinstance(inputs, tuple | dict):
            return None
        named = dict(inputs) if isinstance(inputs, dict) else dict(enumerate(inputs))
        floats = [name for name, part in named.items() if part.dtype.kind == "f"]
        if self.argument is None and floats:
            return floats[0]
        if self.argument not in floats:
            given = ", ".join(f"{n!r} {p.dtype} {list(p.shape)}" for n, p in named.items())
            what = "no input" if self.argument is None else f"input {self.argument!r}"
            raise InputError(
                f"{what} is an array of floats, which can be explained; there are {given}. Choose "
                "with Subject.explaining(...); of token ids explain the embedding, with a "
                "TextPreprocessing"
            )
        return self.argument

    def among(self, item: Any, argument: int | str) -> Subject:
        """The model as a function of one of its inputs, for one item, whose others are kept."""
        return replace(self, probe=self.probe.among(item, argument), argument=None)

    def logits(self, batch: Batch) -> NDArray[Any]:
        """The model's output for each item, [N, K] for a classifier; of texts one by one."""
        if not batch.texts:
            return self.probe.logits(batch.inputs)
        return np.concatenate([self.probe.logits(text.inputs) for text in batch.texts])

    def embedding(self, text: Text) -> str:
        """Name of the layer that gives the vectors of a text's tokens.

        Raises:
            LayerNotFoundError: no layer of the name that the preprocessing gives.
            UnsupportedModelError: it gives none, and no layer takes the token ids alone.
        """
        wanted = self.text.embedding if self.text is not None else None
        if wanted is None:
            return self.probe.embedding(text.inputs)
        names = [name for name in self.probe.layer_names() if f".{name}".endswith(f".{wanted}")]
        if len(names) > 1 and wanted not in names:
            raise InputError(f"embedding={wanted!r} is the end of several layers: {names}")
        if len(names) != 1:
            self.probe.layer(wanted)  # says so where there is none
        return wanted if wanted in names else names[0]

    def within_text(self, text: Text, layer: str | None = None) -> Subject:
        """The model as a function of one text's tokens alone; see `part`.

        Args:
            layer: the embedding: the input are the vectors of all tokens but padding. None: the ids
                of the tokens that belong to words.

        Raises:
            InputError: it is not known what stands for a word that is not there.
            UnsupportedModelError: the layer gives something else than a vector for each token.
        """
        if self.text is None:
            raise InputError("this subject explains no texts; give it a TextPreprocessing")
        if layer is None:
            positions = np.flatnonzero(text.units >= 0)
            x, blank = text.ids[None, positions], self.text.filled(text)[None, positions]
        else:
            positions = np.flatnonzero(~text.padding)
            x, blank = self._vectors(text, layer)
            x, blank = x[:, positions], blank[:, positions]
        part = TextPart(x, blank, positions, text.units[positions])
        probe = self.probe.within(text.inputs, positions, layer)
        return replace(self, probe=probe, preprocessing=None, text=None, part=part)

    def _vectors(self, text: Text, layer: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """The tokens' vectors [1, T, E], and those of the text without its words."""
        blank = self.text.blank(text) if self.text is not None else None
        ids = np.stack([text.ids, text.ids if blank is None else blank])
        found = self.probe.activations(text.with_ids(ids), layer)[layer]
        if found.ndim != 3 or found.shape[:2] != ids.shape:
            raise UnsupportedModelError(
                f"layer {layer!r} gives {list(found.shape[1:])} for {ids.shape[1]} tokens, not a "
                "vector for each; name the embedding: TextPreprocessing(embedding=...)"
            )
        vectors, empty = found[:1], found[1:]
        if blank is None:
            empty = np.where((text.units < 0)[None, :, None], vectors, vectors.dtype.type(0))
        return vectors, empty

    def read(
        self,
        inputs: Any,
        *,
        resize_to: int | None = None,
        crop_to: int | None = None,
        frame: int | None = None,
    ) -> Batch:
        """What a user gives, as a batch. What could not be read is left out, with a warning.

        Args:
            inputs: as `Interpreter.explain` takes them.
            resize_to, crop_to, frame: see `Interpreter.explain`.

        Raises:
            ImageReadError, InputError: see `read_images` and `read_arrays`.
        """
        if self.preprocessing is None or (self.assumed and _is_no_picture(inputs)):
            if (resize_to, crop_to, frame) != (None, None, None):
                what = "arrays" if self.text is None else "texts"
                raise InputError(f"resize_to, crop_to and frame are for pictures, not for {what}")
            return read_arrays(inputs) if self.text is None else read_texts(inputs, self.text)
        try:
            batch = read_images(
                inputs, self.preprocessing, resize_to=resize_to, crop_to=crop_to, frame=frame
            )
        except ImageReadError as error:
            if isinstance(inputs, str) and " " in inputs and not Path(inputs).suffix.strip("."):
                raise ImageReadError(
                    f"{error}. To explain a text give preprocessing=TextPreprocessing(tokenizer)"
                ) from error
            raise
        for index, failure in batch.failures.items():
            warn(f"input {index} is left out: {failure}")
        return batch

    def target(
        self,
        label: Any,
        batch: Batch,
        gradient_of: ScoreKind | None = None,
        default: ScoreKind = "logit",
    ) -> TargetLike:
        """The target that a label means.

        Args:
            label: None (the top class of each item), an index, a class name, a list or array of
                these with one per item, or a target.
            batch: what is explained.
            gradient_of: which score of the class; None is `default`. A target says itself which
                score it is.

        Raises:
            TargetError: no such class, or a wrong number of labels.
            InputError: gradient_of beside a target that is of another score, or unknown.
        """
        if gradient_of is not None and gradient_of not in get_args(ScoreKind):
            raise InputError(
                f"gradient_of must be one of {get_args(ScoreKind)}; got {gradient_of!r}"
            )
        if callable(label) and gradient_of not in (None, getattr(label, "of", None)):
            raise InputError(
                f"label is a target, {label!r}, which says itself which score is explained; leave "
                f"gradient_of={gradient_of!r} out"
            )
        names = self.class_names
        if names is None and _has_names(label):  # ImageNet's, if there are 1000 classes
            first = rows_of(batch.inputs, slice(1)) if not batch.texts else batch.texts[0].inputs
            names = self.names(self.probe.logits(first).shape[-1])
        return target_of(label, gradient_of or default, names, batch.given, batch.indices)

    def names(self, classes: int) -> tuple[str, ...] | None:
        """Names for a model with so many classes; None where they are not known.

        Raises:
            InputError: there are names for another number of classes.
        """
        if self.class_names is None:
            return imagenet_class_names() if classes == 1000 and self.text is None else None
        if len(self.class_names) != classes:
            raise InputError(
                f"{len(self.class_names)} class names were given for a model with {classes} classes"
            )
        return self.class_names


def _is_no_picture(inputs: Any) -> bool:
    """Whether this is an array, and not one of three or four axes, as pictures have."""
    if isinstance(inputs, tuple | list | dict):
        return isinstance(inputs, dict)
    shape, dtype = getattr(inputs, "shape", None), str(getattr(inputs, "dtype", ""))
    return shape is not None and "float" in dtype and len(shape) not in (3, 4)


def _has_names(label: Any) -> bool:
    if isinstance(label, np.ndarray):
        return label.dtype.kind in "UO"
    return isinstance(label, str) or (
        isinstance(label, list | tuple) and any(isinstance(each, str) for each in label)
    )
