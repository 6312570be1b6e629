"""Explanation: what `explain()` returns, with everything needed to draw it and to do it again."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .registry import METHODS
from .targets import ChannelScore, ClassScore, TargetLike, take
from .texts import TextTokens
from .views import Views

__all__ = ["Explanation"]

_FORMAT = "interpretdl explanation 1"
_KINDS = {"f": "float", "b": "bool"}


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Views):
    """The relevance of N images' parts, or texts', and how it was found.

    `len`, indexing and iteration go over the images; an index, like a slice, gives an Explanation.
    `numpy.asarray(explanation)` is `values`.

    Args:
        values: float [N, C, H, W], [N, 1, H, W] or [N, h, w], as the method gives them; for what
            is no picture, in the input's shape; for texts [N, T] or [N, T, E], of T tokens.
        labels: int64 [N], the class explained; -1 where the target is not a class.
        scores: float [N], the target's: the numbers that were explained.
        images: uint8 [N, H, W, 3], the pictures as a person sees them; None if there are none.
        method: the registered name.
        target: what was explained; None where it is not known. In a file only a class's score is
            kept.
        probabilities: float32 [N, K], or None.
        parameters: the options used; JSON-able.
        diagnostics: facts about the run: arrays (indexed along when their first axis is N),
            numbers, texts or lists.
        signed: whether values below zero speak against the class.
        class_names: K names, or None.
        sources: where each image came from; empty when that is unknown.
        failures: what could not be read: position in what was given, and why.
        texts: the texts' tokens and words; None where no texts were explained.
        regions: bool [N, H, W], the part of each image that the score is about, such as a box or a
            segment, whose outline is drawn; None where it is about the whole.

    Raises:
        InputError: shapes or dtypes that do not fit together.
    """

    values: NDArray[Any]
    labels: NDArray[np.int64]
    scores: NDArray[Any]
    images: NDArray[np.uint8] | None
    method: str
    target: TargetLike | None = None
    probabilities: NDArray[np.float32] | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)
    signed: bool = False
    class_names: tuple[str, ...] | None = None
    sources: tuple[str, ...] = ()
    failures: dict[int, str] = field(default_factory=dict)
    texts: TextTokens | None = None
    regions: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name in ("values", "labels", "scores", "images", "probabilities", "regions"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name)))
        n = len(self)
        ndims = range(1, 33) if self.images is None else (3, 4)
        self._need("values", self.values, "f", (n, *self.values.shape[1:]), ndims)
        self._need("labels", self.labels, "iu", (n,))
        self._need("scores", self.scores, "f", (n,))
        if self.images is not None:
            self._need("images", self.images, "u", (n, *self.images.shape[1:3], 3), (4,))
            if self.images.dtype != np.uint8:
                raise InputError(f"images must be uint8; got {self.images.dtype}")
        if self.regions is not None:
            like = self.regions if self.images is None else self.images
            self._need("regions", self.regions, "b", (n, *like.shape[1:3]), (3,))
        if self.texts is not None and self.values.shape[:2] != self.texts.units.shape:
            raise InputError(
                f"values of texts must be {list(self.texts.units.shape)}, or have one axis more; "
                f"got {list(self.values.shape)}"
            )
        object.__setattr__(self, "labels", self.labels.astype(np.int64))
        classes = len(self.class_names) if self.class_names is not None else None
        if self.probabilities is not None:
            classes = self.probabilities.shape[-1] if classes is None else classes
            self._need("probabilities", self.probabilities, "f", (n, classes))
        if self.sources and len(self.sources) != n:
            raise InputError(f"sources must name {n} images; got {len(self.sources)}")
        for name in ("class_names", "sources"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if n and (self.labels.min() < -1 or (classes is not None and self.labels.max() >= classes)):
            raise InputError(
                f"labels must be class indexes below {classes}, or -1; got {self.labels.tolist()}"
            )

    @staticmethod
    def _need(
        name: str,
        array: NDArray[Any],
        kinds: str,
        shape: tuple[Any, ...],
        ndims: Sequence[int] = (),
    ) -> None:
        if array.dtype.kind not in kinds or array.ndim not in (ndims or (len(shape),)):
            raise InputError(
                f"{name} must have {' or '.join(map(str, ndims or (len(shape),)))} axes and be "
                f"{_KINDS.get(kinds, 'integer')}; got {array.dtype} {list(array.shape)}"
            )
        if array.shape != shape:
            raise InputError(f"{name} must be {list(shape)}; got {list(array.shape)}")

    # -- a sequence and an array ------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.values) if self.values.ndim else 0

    def __getitem__(self, index: int | slice) -> Explanation:
        """The part for one image (N is 1) or a slice of them; `failures` stay with the whole."""
        n = len(self)
        if isinstance(index, slice):
            rows = index
        else:
            position = operator.index(index)
            if not -n <= position < n:
                raise IndexError(f"no image {position}; there are {n}")
            position %= n
            rows = slice(position, position + 1)
        texts = None if self.texts is None else self.texts[rows]
        whole = self.values.shape

        def part(value: Any) -> Any:
            if not hasattr(value, "dtype") or np.shape(value)[:1] != (n,):
                return value
            if texts is None or np.shape(value)[:2] != whole[:2]:
                return value[rows]
            return value[rows, : texts.units.shape[1]]

        return replace(
            self,
            values=part(self.values),
            labels=self.labels[rows],
            scores=self.scores[rows],
            images=None if self.images is None else self.images[rows],
            target=None if self.target is None else take(self.target, np.arange(n)[rows]),
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            diagnostics={name: part(value) for name, value in self.diagnostics.items()},
            sources=self.sources[rows],
            failures={},
            texts=texts,
            regions=None if self.regions is None else self.regions[rows],
        )

    def __iter__(self) -> Iterator[Explanation]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.values.shape))
        names = [name if len(name) <= 30 else name[:29] + "…" for name in self.label_names[:3]]
        shown = ", ".join(map(repr, names)) + (", …" if len(self) > 3 else "")
        return f"<Explanation {self.method} {shape} of {shown}>"

    # -- what it says -----------------------------------------------------------------------------

    def _name(self, label: int) -> str:
        if label < 0:
            return "score"
        return self.class_names[label] if self.class_names is not None else f"class {label}"

    def probability(self, i: int) -> float | None:
        """Probability of the class explained for item i; None where that is no class."""
        if self.probabilities is None or self.labels[i] < 0:
            return None
        return float(self.probabilities[i, self.labels[i]])

    @property
    def label_names(self) -> tuple[str, ...]:
        """The explained class of each image by name, or channel; "score" for other targets."""
        if isinstance(self.target, ChannelScore):
            return self.target.names(len(self))
        return tuple(self._name(int(label)) for label in self.labels)

    def top(self, k: int = 5) -> list[list[tuple[int, str, float]]]:
        """For each image its k most likely classes: (index, name, probability), likeliest first.

        Raises:
            InputError: k is below 1, or the model's probabilities are not known.
        """
        if self.probabilities is None:
            raise InputError("this explanation has no probabilities: the model gives no classes")
        if k < 1:
            raise InputError(f"k must be at least 1; got {k}")
        return [
            [
                (i, self._name(i), float(row[i]))
                for i in np.argsort(-row, kind="stable")[:k].tolist()
            ]
            for row in self.probabilities
        ]

    @property
    def titles(self) -> tuple[str, ...]:
        """For each image the class and its probability, "tiger cat  0.385"; else its score.

        Of methods whose map does not depend on it: "any class, such as tiger cat  0.385".
        """
        known = METHODS.all().get(self.method)
        blind = "any class, such as " if known and known.class_blind else ""
        texts = []
        for i, name in enumerate(self.label_names):
            probability = self.probability(i)
            number = f"{self.scores[i]:.4g}" if probability is None else f"{probability:.3f}"
            short = name if len(name) <= 60 else name[:59] + "…"
            prefix = blind if self.labels[i] >= 0 else ""
            texts.append(f"{prefix}{short}  {number}")
        return tuple(texts)

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], style: str = "overlay", **options: Any) -> None:
        """Write a picture, a page, or all of it.

        The file is written beside its place and renamed; whether that can be done is found out
        before anything is drawn.

        Args:
            path: .png, .jpg, .webp, .tif, .pdf or .svg for a picture; .html for a page, of texts
                alone; .npz for everything, which `Explanation.load` reads, values to the bit.
            style, options: of the picture, see `plot`.

        Raises:
            ResourceError: the folder is missing or read-only, another ending, or the disk is full.
            InputError: as `plot`; or for .npz parameters or diagnostics that are not plain data.
        """
        from .data_processor.files import SAVE_SUFFIXES, check_writable
        from .data_processor.visualizer import save_figure

        of_texts = () if self.texts is None else (".html",)
        target = check_writable(path, (*SAVE_SUFFIXES, *of_texts))
        if target.suffix.lower() == ".npz":
            self._save_archive(target)
        elif target.suffix.lower() == ".html":
            self._save_page(target, style, **options)
        else:
            save_figure(self.plot(style, **options), target)

    def _save_archive(self, path: os.PathLike[str]) -> None:
        from .data_processor.files import write_archive

        content = {f.name: getattr(self, f.name) for f in fields(self)}
        if (texts := content.pop("texts")) is not None:
            content |= {"tokens": texts.tokens, "words": texts.words, "units": texts.units}
        if (target := content.pop("target")) is not None and isinstance(target, ClassScore):
            content["target"] = {"labels": target.labels.tolist(), "of": target.of}
        found = content.pop("diagnostics")
        named = [name for name, value in found.items() if isinstance(value, np.ndarray)]
        content["diagnostics"] = {k: v for k, v in found.items() if k not in named}
        arrays = {k: content.pop(k) for k in list(content) if isinstance(content[k], np.ndarray)}
        arrays |= {f"diagnostic_{i}": found[name] for i, name in enumerate(named)}
        write_archive(path, arrays, {"format": _FORMAT, "arrays": named, **content})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Explanation:
        """Read what `save("….npz")` wrote. Nothing in the file is run.

        Tuples among the parameters come back as lists.

        Raises:
            InputError: the file is not such a file, or damaged.
            ResourceError: the file is missing or may not be read.
        """
        from .data_processor.files import read_archive

        arrays, content = read_archive(path)
        if content.pop("format", None) != _FORMAT:
            raise InputError(f"{path} holds no explanation; give an .npz made by save()")
        try:
            for i, name in enumerate(content.pop("arrays")):
                content["diagnostics"][name] = arrays.pop(f"diagnostic_{i}")
            if (target := content.pop("target", None)) is not None:
                content["target"] = ClassScore(**target)
            if "tokens" in content:
                tokens, words = content.pop("tokens"), content.pop("words")
                content["texts"] = TextTokens(tokens, words, arrays.pop("units"))
            content["failures"] = {int(k): str(v) for k, v in content["failures"].items()}
            return cls(**{**content, **arrays})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: {error}; make it again with save()") from error
