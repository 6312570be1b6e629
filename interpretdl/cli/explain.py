"""The commands `interpretdl explain` and `predict`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import arguments as arg
from .outcome import for_each
from .pictures import find_pictures, save_paths

if TYPE_CHECKING:
    from ..interpreter.base import Interpreter

__all__ = ["explain", "predict"]


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
    drawing = {"style": style, "colormap": colormap}
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

    def make(path: Path) -> list[str]:
        explanation = interpreter.explain(path, label=wanted, **options)
        explanation.save(targets[path], **drawing)
        lines: list[str] = interpreter.report(explanation, top)
        return lines

    def one(path: Path) -> list[str]:
        target = targets[path]
        lines = finished.lines(path, target, lambda: make(path)) if finished else make(path)
        return [*lines, f"Wrote {target}"]

    complete = finished.forget if finished else None
    for_each(paths, one, "explain", quiet, complete)


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
    quiet: arg.Quiet = False,
) -> None:
    """Print the most likely classes of pictures."""
    import numpy as np

    from ..interpreter.base import prediction_lines
    from ..targets import ClassScore, scores_of
    from .models import subject_of

    paths = find_pictures(images)
    subject = subject_of(
        model, weights, pretrained, output, output_kind, device, batch_size, engine
    )

    def one(path: Path) -> list[str]:
        logits = subject.probe.logits(subject.read(path).inputs)
        best = np.argsort(-logits[0], kind="stable")[:top]
        chances = scores_of(ClassScore(best, "probability"), np.repeat(logits, len(best), axis=0))
        names = subject.names(logits.shape[1])
        return prediction_lines(
            [
                (int(i), names[i] if names else f"class {i}", chance)
                for i, chance in zip(best, chances, strict=True)
            ]
        )

    for_each(paths, one, "predict", quiet)
