"""The commands `interpretdl explain` and `predict`."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ImageReadError, InputError, InterpretError, InterpretWarning
from . import arguments as arg
from .outcome import for_each, say
from .pictures import find_pictures, save_paths

if TYPE_CHECKING:
    from ..explanation import Explanation
    from ..interpreter.base import Interpreter

__all__ = ["explain", "predict"]

_AT_ONCE = 8  # pictures of a folder that are explained together


def explain(
    images: arg.Images,
    model: arg.Model = arg.DEFAULT_MODEL,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="See `interpretdl methods`.")
    ] = arg.DEFAULT_METHOD,
    label: arg.Label = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            "-o",
            metavar="PATH",
            help="File for one picture (.png, .jpg, .pdf, .svg, … or .npz for the numbers), folder "
            "for several.  [default: IMAGE_METHOD.png in the current folder]",
            parser=arg.given_path,
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="overlay, heatmap, signed, masked or side_by_side.  [default: fits the method]",
        ),
    ] = None,
    colormap: Annotated[
        str | None, typer.Option(metavar="NAME", help="Any of matplotlib's, such as inferno.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="An option of the method, see `interpretdl methods METHOD`; may be repeated.",
        ),
    ] = None,
    top: arg.Top = 10,
    weights: arg.Weights = None,
    pretrained: arg.Pretrained = None,
    output: arg.Output = None,
    output_kind: arg.OutputKind = None,
    device: arg.Device = None,
    batch_size: arg.BatchSize = None,
    engine: arg.Engine = None,
    quiet: arg.Quiet = False,
) -> None:
    """Show which parts of a picture speak for a class.

    Prints the most likely classes and writes a picture for each picture given. A run over several
    pictures that was interrupted goes on where it was when it is started again.
    """
    from ..data_processor.heatmaps import STYLES, check_choice, colormap_of
    from ..registry import METHODS
    from .finished import Finished
    from .models import subject_of
    from .options import parse_options

    # Mistakes are found before the work starts.
    info = METHODS.find(method)
    options = parse_options(option or [], info.options, method)
    if style is not None:
        check_choice("style", style, STYLES)
    if colormap is not None:
        colormap_of(colormap)
    wanted = arg.number_or_name(label)
    paths = find_pictures(images)
    several = len(images) > 1 or os.path.isdir(images[0])
    targets = save_paths(paths, save, method, several=several)
    interpreter = info.cls(
        subject_of(model, weights, pretrained, output, output_kind, device, batch_size, engine)
    )
    drawing: dict[str, Any] = {"style": style, "colormap": colormap}
    drawing = {name: value for name, value in drawing.items() if value is not None}

    finished = None
    if several:
        settings = _settings(
            interpreter,
            options,
            label=wanted,
            drawing=drawing,
            top=top,
            batch_size=batch_size,
            engine=engine,
        )
        finished = Finished(targets[paths[0]].parent, settings)

    explained = _Explained(interpreter, paths, wanted, options, batch_size or _AT_ONCE)

    def make(path: Path) -> list[str]:
        explanation = explained(path)
        explanation.save(targets[path], **drawing)
        lines: list[str] = interpreter.report(explanation, top)
        return lines

    def one(path: Path) -> list[str]:
        target = targets[path]
        lines = finished.lines(path, target, lambda: make(path)) if finished else make(path)
        return [*lines, f"Wrote {target}"]

    complete = finished.forget if finished else None
    for_each(paths, one, "explain", quiet, complete)


class _Explained:
    """Explanations of pictures in turn, made for several at once.

    A method that draws random numbers does so by a picture's place, so it gets one at a time.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        paths: list[Path],
        label: Any,
        options: dict[str, Any],
        size: int,
    ) -> None:
        self._interpreter, self._options = interpreter, {"label": label, **options}
        self._paths, self._size = paths, 1 if interpreter.info.random else size
        self._ready: dict[Path, Explanation | ImageReadError] = {}

    def __call__(self, path: Path) -> Explanation:
        if path not in self._ready:
            self._ready.clear()
            first = self._paths.index(path)
            self._together(self._paths[first : first + self._size])
        found = self._ready.get(path)
        if isinstance(found, ImageReadError):
            raise found
        return self._explain(path) if found is None else found

    def _explain(self, inputs: Any) -> Explanation:
        return self._interpreter.explain(inputs, **self._options)

    def _together(self, paths: list[Path]) -> None:
        """Explain these at once where that can be done."""
        if len(paths) < 2:
            return
        try:
            with warnings.catch_warnings():
                # said in the end, of all pictures
                warnings.filterwarnings("ignore", "input [0-9]+ is left out", InterpretWarning)
                found = self._explain(list(paths))
        except InterpretError:  # such as pictures of several sizes: each alone then says what it is
            self._size = 1
            return
        read = iter(found)
        for i, path in enumerate(paths):
            failure = found.failures.get(i)
            self._ready[path] = next(read) if failure is None else ImageReadError(failure)


def _settings(interpreter: Interpreter, options: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a result depends on, the picture aside, in plain values."""
    from ..evaluator.compare import settings_of
    from ..probe.state import place_of
    from ..record import digest_of_model, plain
    from ..version import __version__
    from .finished import code_of

    model = interpreter.model
    return {
        **settings_of(interpreter, options, digest_of_model(model)),
        "version": __version__,
        "class_names": plain(interpreter.class_names),
        "place": str(place_of(model)),
        "code": code_of([interpreter, *model.sublayers(include_self=True)]),
        **plain(more),
    }


def predict(
    images: arg.Images,
    model: arg.Model = arg.DEFAULT_MODEL,
    top: arg.Top = 10,
    weights: arg.Weights = None,
    pretrained: arg.Pretrained = None,
    output: arg.Output = None,
    output_kind: arg.OutputKind = None,
    device: arg.Device = None,
    batch_size: arg.BatchSize = None,
    engine: arg.Engine = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object for each picture, one a line.")
    ] = False,
    as_csv: Annotated[
        bool,
        typer.Option("--csv", help="Print a table: image, rank, index, name, probability."),
    ] = False,
    quiet: arg.Quiet = False,
) -> None:
    """Print the most likely classes of pictures."""
    import numpy as np

    from ..interpreter.base import prediction_lines
    from ..targets import ClassScore, scores_of
    from .models import subject_of

    if as_json and as_csv:
        raise InputError("give --json or --csv, not both")
    paths = find_pictures(images)
    subject = subject_of(
        model, weights, pretrained, output, output_kind, device, batch_size, engine
    )
    if as_csv:
        say(_csv([("image", "rank", "index", "name", "probability")]))

    def one(path: Path) -> list[str]:
        logits = subject.probe.logits(subject.read(path).inputs)
        best = np.argsort(-logits[0], kind="stable")[:top]
        chances = scores_of(ClassScore(best, "probability"), np.repeat(logits, len(best), axis=0))
        names = subject.names(logits.shape[1])
        found = [
            (int(i), names[i] if names else f"class {i}", float(chance))
            for i, chance in zip(best, chances, strict=True)
        ]
        if as_json:
            keys = ("index", "name", "probability")
            rows = [dict(zip(keys, one, strict=True)) for one in found]
            return [json.dumps({"image": str(path), "predictions": rows})]
        if as_csv:
            return [_csv([(path, rank, *one)]) for rank, one in enumerate(found, 1)]
        return prediction_lines(found)

    listed = as_json or as_csv
    for_each(paths, one, "predict", quiet and not listed, headed=not listed)


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().rstrip("\n")
