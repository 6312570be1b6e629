"""Models that give a class for each pixel: what they see, and why, of a part of the picture."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..data_processor.readers import Batch
from ..errors import InputError, TargetError, UnsupportedModelError, did_you_mean
from ..explanation import Explanation
from ..preprocessing import Preprocessing
from ..probe import EngineKind, OutputKind
from ..record import plain
from ..registry import METHODS
from ..subject import PreprocessingChoice, Subject
from ..targets import ScoreKind, SegmentationScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Segmentation", "SegmentationSubject"]

Region: TypeAlias = Any
"""A class by name or index, a mask [H, W], or a click (x, y)."""

# As PaddleSeg's `Normalize()` and its models' configurations have it. Pictures keep their size.
_USUAL = Preprocessing(resize=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each pixel of N pictures.

    Attributes:
        labels: uint8 or uint16 [N, H, W], the class with the largest logit, at the picture's size.
        images: uint8 [N, H, W, 3], the pictures; None if there are none.
        class_names: a name for each of the K classes.
    """

    labels: NDArray[np.unsignedinteger[Any]]
    images: NDArray[np.uint8] | None
    class_names: tuple[str, ...]

    @property
    def shares(self) -> list[dict[str, float]]:
        """Of each picture the classes that are there, and their shares of it, largest first."""
        found = []
        for one in self.labels:
            counts = np.bincount(one.ravel(), minlength=len(self.class_names)) / one.size
            there = sorted(np.flatnonzero(counts).tolist(), key=lambda k: -counts[k])
            found.append({self.class_names[k]: float(counts[k]) for k in there})
        return found

    def plot(self) -> Figure:
        """The pictures with their classes in colour, and a legend with the classes' shares.

        Returns:
            a matplotlib Figure, which pyplot does not know.

        Raises:
            InputError: there are no pictures.
        """
        from ..data_processor.segments import plot_segments

        if self.images is None:
            raise InputError("there are no pictures to draw the classes on; see `labels`")
        return plot_segments(self.images, self.labels, self.class_names, self.shares)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the figure: .png, .jpg, .webp, .tif, .pdf or .svg.

        Raises:
            ResourceError: the folder is missing or read-only, another ending, or the disk is full.
        """
        from ..data_processor.files import FIGURE_SUFFIXES, check_writable
        from ..data_processor.visualizer import save_figure

        save_figure(self.plot(), check_writable(path, FIGURE_SUFFIXES))

    def _repr_png_(self) -> bytes | None:
        from ..data_processor.canvas import png_of

        return None if self.images is None else png_of(self.plot(), dpi=80)


class SegmentationSubject:
    """A model that gives a class for each pixel, [N, K, H, W], or a list with that first.

    PaddleSeg's models are such, and so is any Layer of that output.

        seg = it.SegmentationSubject(model, class_names=["road", "car"])
        seg.segment("street.png").shares
        seg.explain("street.png", region=(310, 140)).save("why.png")

    Args:
        model: paddle.nn.Layer in any mode; it is left as it was.
        device, output_kind, batch_size, engine: see `Probe`.
        output: which part of what the model returns are the logits [N, K, H, W]. None: the first of
            a list, as PaddleSeg has it; the others are of auxiliary heads.
        preprocessing: how pictures become inputs; "model" takes `model.preprocessing`, or
            PaddleSeg's usual one: the picture's own size, mean and std 0.5. None: inputs are arrays
            [N, C, H, W] as they are.
        class_names: a name for each class; None takes `model.class_names`, or "class 0" ….

    Attributes:
        subject: the Subject, for methods and evaluators: `it.LRPInterpreter(seg.subject)`.

    Raises:
        InputError: an argument that does not fit.
    """

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        *,
        output: int | str | Callable[[Any], Any] | None = None,
        output_kind: OutputKind | None = None,
        batch_size: int | None = None,
        preprocessing: PreprocessingChoice = "model",
        class_names: Sequence[str] | None = None,
        engine: EngineKind | None = None,
    ) -> None:
        subject = Subject.of(
            model, device, output=_first if output is None else output, output_kind=output_kind,
            batch_size=batch_size, preprocessing=preprocessing, class_names=class_names,
            engine=engine,
        )  # fmt: skip
        if subject.assumed:
            subject = replace(subject, preprocessing=_USUAL, assumed=False)
        if subject.text is not None:
            raise InputError("a segmenter takes pictures; got a TextPreprocessing")
        self.subject = subject

    def segment(self, pictures: Any, **reading: Any) -> Segmentation:
        """The class of each pixel.

        Args:
            pictures: as `Interpreter.explain` takes them.
            reading: resize_to, crop_to, frame; likewise.

        Raises:
            ImageReadError, InputError.
            UnsupportedModelError: the model's output is not [N, K, H, W].
        """
        batch = self.subject.read(pictures, **reading)
        labels, names = self._labels(batch)
        size = batch.inputs.shape[2:]
        kind = np.uint8 if len(names) <= 256 else np.uint16
        return Segmentation(_resized(labels, size).astype(kind), batch.images, names)

    def explain(
        self,
        pictures: Any,
        region: Region = None,
        label: int | str | Sequence[int | str] | None = None,
        method: str = "grad_cam",
        *,
        gradient_of: ScoreKind = "logit",
        resize_to: int | None = None,
        crop_to: int | None = None,
        frame: int | None = None,
        **options: Any,
    ) -> Explanation:
        """Why pixels of a part of the picture have their class: the mean score of a class over
        them, by any method; see `SegmentationScore`.

        With `method="grad_cam"` it is Seg-Grad-CAM (Vinogradova, Dibrov, Myers: Towards
        Interpretable Semantic Segmentation via Gradient-weighted Class Activation Mapping, 2020,
        https://arxiv.org/abs/2002.11434), but for a constant: they take the sum.

        Args:
            pictures: one or many, as `Interpreter.explain` takes them.
            region: which pixels. A class, by name or index: all pixels for which it is predicted.
                A mask [H, W], bool or of two numbers, the smaller for outside. A click (x, y), a
                tuple of pixels from the left and from the top of the picture as the model is given
                it: the connected pixels of the class that is predicted there. None: those of
                `label`, or of the most frequent class. A list has a region for each picture. The
                region is found in the picture once, and held fixed.
            label: whose score, by name or index, or a list of these with one for each picture.
                None: the most frequent class in the region.
            method: a name as `interpretdl methods` lists them.
            gradient_of: the score of a pixel, see `SegmentationScore`.
            resize_to, crop_to, frame: see `Interpreter.explain`.
            options: of the method. Of class activation maps `target_layer_name`: where it is not
                given the last layer in front of the classifier, whose units see the region and
                what is near; name a layer of the backbone for what is further away.

        Returns:
            Explanation, whose `regions` have the region of each picture, at its size; pictures
            show their outline. Diagnostics "share": of each picture that is in the region.

        Raises:
            InputError: a region outside the picture, empty, or of another size.
            TargetError: no such class, or one that is predicted nowhere.
            and what the method raises.
        """
        info = METHODS.find(method)
        reading = {"resize_to": resize_to, "crop_to": crop_to, "frame": frame}
        batch = self.subject.read(pictures, **reading)
        outputs, names = self._labels(batch)
        seen = _resized(outputs, batch.inputs.shape[2:])
        given = _each(label, batch, "label")
        classes, regions, inner = [], [], []
        for i, wanted in enumerate(_each(region, batch, "region")):
            known = None if given[i] is None else _class_of(given[i], names)
            if wanted is None and known is not None:
                wanted = known
            part = _region_of(wanted, seen[i], names)
            inner.append(_shrunk(part, outputs.shape[1:]))
            regions.append(part)
            classes.append(_most_frequent(outputs[i][inner[-1]]) if known is None else known)
        target = SegmentationScore(classes, np.stack(inner), gradient_of)
        if info.needs_layer and options.get("target_layer_name") is None:
            options["target_layer_name"] = self._layer(batch, target, len(names))
        method_of = info.cls(self.subject)
        found: Explanation = method_of._explained(batch, target, None, reading, options)
        facts = {"share": np.mean(regions, axis=(1, 2), dtype=np.float32)}
        return replace(
            found, labels=np.array(classes), class_names=names, regions=np.stack(regions),
            diagnostics=found.diagnostics | facts,
            parameters=found.parameters | {"label": plain(label), "region": plain(region)},
        )  # fmt: skip

    def _labels(self, batch: Batch) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """The class of each place of the output, [N, h, w], and the classes' names."""
        if batch.inputs.ndim != 4:
            raise InputError(f"inputs must be [N, C, H, W]; got {list(batch.inputs.shape)}")
        logits = self.subject.logits(batch)
        if logits.ndim != 4 or len(logits) != len(batch):
            raise UnsupportedModelError(
                f"a segmenter gives [N, K, H, W], and this model {list(logits.shape)}; pick the "
                "logits with output=, from before an argmax"
            )
        classes = logits.shape[1]
        if classes == 1:
            raise UnsupportedModelError(
                "this model gives one logit for each pixel; make two classes of it with "
                "output=lambda y: paddle.concat([paddle.zeros_like(y), y], axis=1)"
            )
        names = self.subject.class_names or [f"class {k}" for k in range(classes)]
        if len(names) != classes:
            raise InputError(
                f"{len(names)} class names were given for a model with {classes} classes"
            )
        return logits.argmax(axis=1), tuple(names)

    def _layer(self, batch: Batch, target: SegmentationScore, classes: int) -> str | None:
        """The last layer [N, C, h, w] that is not the classes' scores and on which they depend."""
        probe, x = self.subject.probe, batch.inputs[:1]
        shapes = probe.layer_shapes(x)
        spatial = [
            name for name, shape in shapes.items()
            if len(shape) == 4 and shape[0] == 1 and shape[1] != classes and min(shape[2:]) > 1
        ][-_CANDIDATES:]  # fmt: skip
        first = target.take(np.array([0]))
        found = probe.gradients(x, first, at=spatial).gradients if spatial else {}
        return next((name for name in reversed(spatial) if found[name].any()), None)


_CANDIDATES = 12  # layers from the end, of which one is in front of the classifier


def _first(raw: Any) -> Any:
    """The first of a list or tuple, as PaddleSeg's models have the logits."""
    return raw[0] if isinstance(raw, list | tuple) and raw else raw


def _each(given: Any, batch: Batch, what: str) -> list[Any]:
    """One for each picture that could be read."""
    if not isinstance(given, list):
        many = isinstance(given, np.ndarray) and given.ndim == 3
        if not many:
            return [given] * len(batch)
        given = list(given)
    if len(given) != batch.given:
        hint = "; write a click as a tuple, (x, y)" if what == "region" and len(given) == 2 else ""
        raise InputError(f"{len(given)} {what}s were given for {batch.given} pictures{hint}")
    return [given[i] for i in batch.indices]


def _class_of(given: Any, names: tuple[str, ...]) -> int:
    if isinstance(given, str):
        if given not in names:
            raise TargetError(f"no class {given!r}{did_you_mean(given, names)}")
        return names.index(given)
    if isinstance(given, bool | np.bool_) or not isinstance(given, int | np.integer):
        raise TargetError(f"a class is a name or an index; got {given!r}")
    if not 0 <= given < len(names):
        raise TargetError(f"class {given} is not in [0, {len(names)}), the classes of this model")
    return int(given)


def _most_frequent(labels: NDArray[np.int64]) -> int:
    return int(np.bincount(labels.ravel()).argmax())


def _region_of(
    given: Region, labels: NDArray[np.int64], names: tuple[str, ...]
) -> NDArray[np.bool_]:
    """The pixels, bool [H, W], that a region means in a picture with these classes."""
    if given is None:
        given = _most_frequent(labels)
    if isinstance(given, tuple):
        return _clicked(given, labels)
    given = np.asarray(given) if hasattr(given, "numpy") else given
    if isinstance(given, np.ndarray) and given.ndim:
        return _mask(given, labels.shape)
    wanted = _class_of(given, names)
    found = np.asarray(labels == wanted)
    if not found.any():
        there = sorted({names[k] for k in np.unique(labels).tolist()})
        raise TargetError(
            f"{names[wanted]!r} is predicted nowhere in the picture; there are {', '.join(there)}. "
            "Give a mask or a click as the region, to explain that class elsewhere"
        )
    return found


def _clicked(given: tuple[Any, ...], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    from skimage import measure

    height, width = labels.shape
    numbers = [each for each in given if isinstance(each, int | float | np.number)]
    if len(given) != 2 or len(numbers) != 2:
        raise InputError(f"a click is (x, y), two numbers; got {given!r}")
    x, y = (int(np.floor(each)) for each in numbers)
    if not (0 <= x < width and 0 <= y < height):
        raise InputError(f"the click ({x}, {y}) is outside of the picture, {width} x {height}")
    library: Any = measure  # its functions are untyped
    parts = library.label(labels, background=-1, connectivity=1)
    return np.asarray(parts == parts[y, x])


def _mask(given: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.bool_]:
    if given.shape != size:
        raise InputError(
            f"the mask is {list(given.shape)}, and the picture, as the model is given it, "
            f"{list(size)}"
        )
    found = np.unique(given)
    if given.dtype.kind not in "bui" or len(found) > 2:
        raise InputError(
            "a mask is bool, or of two whole numbers, the smaller for outside; got "
            f"{given.dtype} with {len(found)} values"
        )
    mask = given if given.dtype == np.bool_ else given > (found[0] if len(found) == 2 else 0)
    if not mask.any():
        raise InputError("the mask is empty: no pixel is in it")
    return np.asarray(mask, np.bool_)


def _resized(labels: NDArray[Any], size: tuple[int, ...]) -> NDArray[Any]:
    """Classes [N, h, w] at another size, each from the place that is nearest."""
    rows, columns = (_nearest(n, m) for n, m in zip(labels.shape[1:], size, strict=True))
    return labels[:, rows[:, None], columns]


def _nearest(n: int, size: int) -> NDArray[np.int64]:
    """For each of `size` places along a side the nearest of n."""
    return (np.arange(size) * 2 + 1) * n // (2 * size)


def _shrunk(region: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """A region at the size of the output: places whose middle is in it, or else that it touches."""
    found: NDArray[np.bool_] = _resized(region[None], size)[0]
    if not found.any():
        r, c = np.nonzero(region)
        rows, columns = (_nearest(n, m) for n, m in zip(size, region.shape, strict=True))
        found[rows[r], columns[c]] = True
    return found
