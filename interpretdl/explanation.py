"""Explanation: what `explain()` returns, with everything needed to draw it and to do it again."""

from __future__ import annotations

import base64
import html
import operator
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .registry import METHODS
from .targets import ChannelScore, ClassScore, TargetLike, take

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Explanation"]

_FORMAT = "interpretdl explanation 1"
_HTML_IMAGES = 8


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """The relevance of N images' parts, and how it was found.

    `len`, indexing and iteration go over the images; an index, like a slice, gives an Explanation.
    `numpy.asarray(explanation)` is `values`.

    Args:
        values: float [N, C, H, W], [N, 1, H, W] or [N, h, w], as the method gives them; for what
            is no picture, in the input's shape.
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

    def __post_init__(self) -> None:
        for name in ("values", "labels", "scores", "images", "probabilities"):
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
                f"{'float' if kinds == 'f' else 'integer'}; got {array.dtype} {list(array.shape)}"
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
        diagnostics = {
            name: value[rows] if np.shape(value)[:1] == (n,) and hasattr(value, "dtype") else value
            for name, value in self.diagnostics.items()
        }
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            scores=self.scores[rows],
            images=None if self.images is None else self.images[rows],
            target=None if self.target is None else take(self.target, np.arange(n)[rows]),
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            diagnostics=diagnostics,
            sources=self.sources[rows],
            failures={},
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

    # -- pictures ---------------------------------------------------------------------------------

    def heatmap(self, signed: bool | None = None) -> NDArray[np.float32]:
        """One map per image at the image's size.

        Args:
            signed: sum the channels (True) or their absolute values (False); None: as it is.

        Returns:
            float32 [N, H, W].

        Raises:
            InputError: what was explained are no pictures.
        """
        from .data_processor.heatmaps import heatmap_of

        height, width = self._pictures().shape[1:3]
        return heatmap_of(self.values, (height, width), self.signed if signed is None else signed)

    def _pictures(self) -> NDArray[np.uint8]:
        if self.images is None:
            raise InputError(
                f"this explanation is of inputs {list(self.values.shape[1:])} that are no "
                "pictures, so there is nothing to draw it on; `values` has the input's shape"
            )
        return self.images

    def plot(
        self,
        style: str = "overlay",
        *,
        colormap: str | None = None,
        original: bool = False,
        signed: bool | None = None,
        scale: str | None = None,
        share: float = 0.2,
        uncertainty: bool = False,
    ) -> Figure:
        """Draw it; class and probability stand above each map.

        Args:
            style: "overlay", "heatmap", "signed", "masked" or "side_by_side".
            colormap, original, scale, share: see `interpretdl.data_processor.visualizer.plot`.
            signed: see `heatmap`; None: as the method is, and True for style "signed".
            uncertainty: beside each map its standard error, on the map's own scale.

        Returns:
            a matplotlib Figure, which pyplot does not know.

        Raises:
            InputError: an unknown style, colormap or scale, nothing to draw, or no standard error.
        """
        from .data_processor.visualizer import plot_grid

        signed = (self.signed or style == "signed") if signed is None else signed
        maps, titles = [self.heatmap(signed)], [list(self.titles)]
        if uncertainty:
            maps.append(self._standard_error())
            titles.append(["standard error"] * len(self))
            scale = scale or "row"
        return plot_grid(
            self._pictures(), maps, titles, style=style, colormap=colormap, signed=signed,
            original=original, scale=scale, share=share,
        )  # fmt: skip

    def _standard_error(self) -> NDArray[np.float32]:
        """Of each map, [N, H, W]."""
        from .data_processor.heatmaps import heatmap_of

        error = np.asarray(self.diagnostics.get("standard_error", np.nan))
        if error.shape != self.values.shape:
            raise InputError(
                f"there is no standard error of this map by {self.method}; methods that draw "
                "samples give one, such as kernel_shap, rise or smooth_grad"
            )
        height, width = self._pictures().shape[1:3]
        return heatmap_of(error, (height, width), True)  # at most the sum over channels

    def show(self, style: str = "overlay", **options: Any) -> None:
        """Show the picture, where there is a notebook or a display; options as `plot` has them."""
        from .data_processor.showing import show

        show(self.plot(style, **options))

    def _settings(self) -> dict[str, Any]:
        """The parameters that are not what the method takes by itself."""
        known = METHODS.all().get(self.method)
        usual = {name: p.default for name, p in known.options.items()} if known else {}
        usual |= dict.fromkeys(("label", "resize_to", "crop_to", "frame"))
        facts = ("model", "version", "input_shape")
        return {
            name: value
            for name, value in self.parameters.items()
            if name not in facts and not (name in usual and value == usual[name])
        }

    def _repr_html_(self) -> str:
        from .data_processor.canvas import png_of
        from .data_processor.files import encodable

        part = self[:_HTML_IMAGES]
        picture = ""
        if len(self) and self.images is not None:
            data = base64.b64encode(png_of(part.plot("side_by_side"), dpi=80)).decode()
            picture = f'<img src="data:image/png;base64,{data}" style="max-width:100%"/>'
        lines = []
        for i, name in enumerate(part.label_names):
            source = part.sources[i] if part.sources else f"image {i}"
            probability = part.probability(i)
            shown = "" if probability is None else f"{probability:.3f}"
            cells = (source, name, shown, f"{part.scores[i]:.4g}")
            lines.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        rows = "".join(f"<tr>{line}</tr>" for line in lines)
        more = len(self) - len(part)
        options = ", ".join(f"{name}={value!r}" for name, value in self._settings().items())
        text = f"{self.method}({options})" + (f", and {more} more images" if more else "")
        heads = "".join(f"<th>{h}</th>" for h in ("image", "class", "probability", "score"))
        return encodable(
            f'<div class="tex2jax_ignore mathjax_ignore">'  # a $ in a name starts no formula
            f"{picture}<table><tr>{heads}</tr>{rows}</table><p>{html.escape(text)}</p></div>"
        )

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], style: str = "overlay", **options: Any) -> None:
        """Write a picture, or all of it.

        The file is written beside its place and renamed; whether that can be done is found out
        before anything is drawn.

        Args:
            path: .png, .jpg, .webp, .tif, .pdf or .svg for a picture; .npz for everything, which
                `Explanation.load` reads, values to the bit.
            style, options: of the picture, see `plot`.

        Raises:
            ResourceError: the folder is missing or read-only, another ending, or the disk is full.
            InputError: as `plot`; or for .npz parameters or diagnostics that are not plain data.
        """
        from .data_processor.files import check_writable
        from .data_processor.visualizer import save_figure

        target = check_writable(path)
        if target.suffix.lower() == ".npz":
            self._save_archive(target)
        else:
            save_figure(self.plot(style, **options), target)

    def _save_archive(self, path: os.PathLike[str]) -> None:
        from .data_processor.files import write_archive

        content = {f.name: getattr(self, f.name) for f in fields(self)}
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
            content["failures"] = {int(k): str(v) for k, v in content["failures"].items()}
            return cls(**{**content, **arrays})
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged: {error}; make it again with save()") from error
