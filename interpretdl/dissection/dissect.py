"""Network Dissection: which concepts do a layer's units detect?"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ResourceError
from ..hints import check_value, hints_of
from ..interpreter.sampling import at_least, counts
from ..preprocessing import Preprocessing
from ..probe import EngineKind, Probe
from ..progress import progress_bar
from ..record import digest, digest_of_model, plain
from ..subject import Subject
from .broden import Broden
from .lock import Hold
from .phases import Phase, TallyPhase, ThresholdPhase, Units
from .place import Place
from .report import write_report
from .result import MIN_IOU, LayerResult, ordered_categories

__all__ = ["Dissection", "dissect"]

_ALGORITHM = 3  # increased when results, or the digest of a model, change


@dataclass(frozen=True)
class Dissection:
    """What `dissect` found.

    Attributes:
        layers: the layers' results by name; with the baseline also "<layer>-rotated".
        files: the tables by the same names.
        report: the HTML report, None if none was asked for.
    """

    layers: dict[str, LayerResult]
    files: dict[str, Path]
    report: Path | None

    def __getitem__(self, name: str) -> LayerResult:
        return self.layers[name]


def dissect(
    model: Any,
    data: Broden | str | os.PathLike[str],
    layers: str | Sequence[str],
    out: str | os.PathLike[str],
    *,
    categories: str | Sequence[str] | None = None,
    share: float = 0.005,
    min_iou: float = MIN_IOU,
    baseline: bool = False,
    input_size: int | tuple[int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    top: int = 10,
    capacity: int = 8192,
    seed: int = 0,
    batch_size: int = 8,
    device: str | None = None,
    output: int | str | Callable[[Any], Any] | None = None,
    engine: EngineKind | None = None,
    checkpoint_seconds: float = 60,
    restart: bool = False,
    report: bool = True,
) -> Dissection:
    """Find the concepts that single units of a network detect.

    A unit's threshold T is exceeded by a share of its activations over all positions of all images.
    Its activations are enlarged to the labels' size; where they are above T, the unit is "on". A
    unit detects the concept with which "on" has the largest intersection over union, if that is at
    least `min_iou`. The model goes through the data twice: for thresholds, and for counting. A run
    that was interrupted continues where it stopped, with the same result to the byte.

    Network Dissection, Bau, Zhou et al. 2017, https://arxiv.org/abs/1704.05796.

    Args:
        model: paddle.nn.Layer, left as it was; or a Subject, and then `device`, `output` and
            `preprocessing` must not be given.
        data: a data set in Broden's layout or its folder, see `Broden` and `mini_broden`.
        layers: names of layers with outputs [N, C, h, w]; all are done in one run of the model.
        out: folder for the results; made when missing. It takes one run at a time.
        categories: the categories of labels that count, see `Broden`, to which they must have been
            given if `data` is one; None takes all of the data set. Others than the paper's change
            what units detect most, and the numbers of detectors and concepts.
        share: share of a unit's activations that are above its threshold.
        min_iou: IoU from which a unit counts as a detector.
        baseline: also dissect each layer with its units mixed by a random rotation. What units
            detect beyond that is due to the single units, not to the layer as a whole.
        input_size: side, or height and width, to which whole pictures are resized, so that labels
            stay in place; None takes the preprocessing's crop, or the pictures as they are.
        preprocessing: its mean, std and interpolation are used; None takes `model.preprocessing`,
            or ImageNet's.
        top: number of strongest images kept for each unit.
        capacity: activations kept per unit for the thresholds, see `TailQuantile`.
        seed: for the rotation, and for the choice of positions in a large data set.
        batch_size: images in one run of the model.
        device, output, engine: see Probe.
        checkpoint_seconds: seconds between two saves of a phase's state.
        restart: start anew and replace the results that `out` has of these layers.
        report: write report.html.

    Returns:
        Dissection. In `out` are <layer>-thresholds.npz, <layer>-tally.npz, <layer>-result.csv and
        report.html.

    Raises:
        InputError: wrong data or settings, or `out` has results of another model, data or settings,
            or files that no dissection wrote.
        ResourceError: another run writes into `out`, or a file cannot be written.
        ImageReadError, LayerNotFoundError, UnsupportedModelError.
    """
    _check(locals())
    names = list(dict.fromkeys([layers] if isinstance(layers, str) else layers))
    if not isinstance(data, Broden):
        data = Broden(data, categories=categories)
    elif categories is not None:
        raise InputError("data says itself which categories count: give them to Broden")
    subject = Subject.of(model, device, output=output, preprocessing=preprocessing or "model")
    settings = subject.preprocessing
    if settings is None:
        raise InputError("a data set has pictures: give the Subject a Preprocessing for them")
    # A fixed batch size: the same batches, and so the same bits, after a restart. Nothing depends
    # on whether the output is logits.
    model, output = subject.probe.model, subject.probe.output
    probe = Probe(model, None, output, batch_size, "logits", engine or subject.probe.engine)
    for name in names:
        probe.layer(name)
    size = _size(input_size, settings, data)
    folder = _folder(out)
    fingerprint = plain({
        "algorithm": _ALGORITHM,
        "model": digest_of_model(probe.model),
        "data": data.digest(),
        "categories": data.categories,
        "share": share,
        "top": top,
        "capacity": capacity,
        "seed": seed,
        "batch_size": batch_size,
        "engine": probe.engine,
        "input_size": size,
        "preprocessing": [settings.mean, settings.std, settings.interpolation],
    })  # fmt: skip
    dissected = [Units(n, turned, seed) for n in names for turned in [False, True][: 1 + baseline]]
    _distinct(dissected)
    walk = _Walk(probe, data, names, settings, size, batch_size, checkpoint_seconds)
    with Hold(folder) as held:
        place = Place(folder, names, fingerprint)
        place.prepare(held, restart)
        first = [
            ThresholdPhase(
                units, folder, len(data), fingerprint, share=share, capacity=capacity, top=top
            )
            for units in dissected
        ]
        walk("thresholds", first, with_truth=False)
        labels = ordered_categories(data.labels)
        category_of = np.array([labels.index(label.category) for label in data.labels])
        second = [
            TallyPhase(
                units, folder, len(data), fingerprint, thresholds=phase.result["thresholds"],
                category_of=category_of, categories=len(labels),
            )
            for units, phase in zip(dissected, first, strict=True)
        ]  # fmt: skip
        walk("tally", second, with_truth=True)
        results, files = {}, {}
        for units, thresholds, tally in zip(dissected, first, second, strict=True):
            result = LayerResult(
                units.layer, units.rotated, data.labels, **thresholds.result, **tally.result,
                categories=labels, min_iou=float(min_iou), model=fingerprint["model"],
            )  # fmt: skip
            results[units.name] = result
            files[units.name] = place.table(units)
            result.write_csv(files[units.name])
        if not report:
            return Dissection(results, files, None)
        facts = {**fingerprint, "min_iou": min_iou, "layers": list(results)}
        write_report(
            place.report, list(results.values()), data, digest=digest(facts), settings=fingerprint
        )
        return Dissection(results, files, place.report)


class _Walk:
    """Goes through the data for one phase, all layers in one run of the model."""

    def __init__(
        self,
        probe: Probe,
        data: Broden,
        layers: list[str],
        preprocessing: Preprocessing,
        size: tuple[int, int],
        batch_size: int,
        checkpoint_seconds: float,
    ) -> None:
        self.probe, self.data, self.layers = probe, data, layers
        self.preprocessing, self.size = preprocessing, size
        self.batch_size, self.seconds = batch_size, checkpoint_seconds

    def __call__(self, name: str, phases: Sequence[Phase], *, with_truth: bool) -> None:
        for phase in phases:
            phase.load()
        waiting = [phase for phase in phases if not phase.result]
        if not waiting:
            return
        start = min(phase.done for phase in waiting)
        saved = time.monotonic()
        total = len(self.data)
        with self.probe.many(total), progress_bar(total, name, "image", initial=start) as bar:
            for first, x in self._batches(start):
                indices = range(first, first + len(x))
                wanted = [phase for phase in waiting if phase.done == first]
                layers = [n for n in self.layers if any(p.units.layer == n for p in wanted)]
                activations = self.probe.activations(x, layers)
                truths = [self.data.truth(i) for i in indices] if with_truth else []
                for phase in wanted:
                    phase.take(first, phase.units.maps(activations), truths)
                bar.update(len(x))
                if time.monotonic() - saved >= self.seconds:
                    for phase in waiting:
                        phase.save()
                    saved = time.monotonic()
        for phase in waiting:
            phase.save()

    def _batches(self, start: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for first in range(start, len(self.data), self.batch_size):
            last = min(first + self.batch_size, len(self.data))
            pictures = [self._picture(index) for index in range(first, last)]
            yield first, self.preprocessing.normalize(np.stack(pictures))

    def _picture(self, index: int) -> NDArray[np.uint8]:
        from PIL import Image

        pixels = self.data.image(index, self.preprocessing.channels)
        if pixels.shape[:2] == self.size:
            return pixels
        grey = pixels.shape[2] == 1
        how = Image.Resampling[self.preprocessing.interpolation.upper()]
        image = Image.fromarray(pixels[..., 0] if grey else pixels)
        resized = np.asarray(image.resize((self.size[1], self.size[0]), how))
        return resized[..., None] if grey else resized


def _check(given: dict[str, Any]) -> None:
    """Refuse values of the wrong type or range, before anything is read."""
    for name, hint in hints_of(dissect).items():
        if name not in ("model", "preprocessing", "device", "output", "return"):  # Subject's
            check_value(name, given[name], hint)
    if not given["layers"]:
        raise InputError(f"layers must name at least one layer; got {given['layers']!r}")
    for name, most in (("share", 1), ("min_iou", math.nextafter(1, 2))):
        if not 0 < given[name] < most:
            limit = "in (0, 1)" if most == 1 else "in (0, 1]"
            raise InputError(f"{name} must be {limit}; got {given[name]!r}")
    counts(top=given["top"], capacity=given["capacity"], batch_size=given["batch_size"])
    at_least(0, seed=given["seed"], checkpoint_seconds=given["checkpoint_seconds"])


def _size(
    given: int | tuple[int, int] | None, preprocessing: Preprocessing, data: Broden
) -> tuple[int, int]:
    size = preprocessing.crop if given is None else given
    if size is None:
        sizes = {record.size for record in data.records}
        if len(sizes) > 1:
            raise InputError(f"pictures of {len(sizes)} different sizes: give input_size=")
        return sizes.pop()
    height, width = size if isinstance(size, tuple) else (size, size)
    if min(height, width) < 1:
        raise InputError(f"input_size must be at least 1; got {given!r}")
    return int(height), int(width)


def _folder(out: str | os.PathLike[str]) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise ResourceError(f"cannot make the folder {folder}: {reason}") from error
    return folder


def _distinct(dissected: Sequence[Units]) -> None:
    names = [units.file_name for units in dissected]
    for name in names:
        if names.count(name) > 1:
            same = [units.name for units in dissected if units.file_name == name]
            raise InputError(
                f"the files of {' and '.join(same)} would have the same name; give each a folder "
                "of its own"
            )
