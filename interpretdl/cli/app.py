"""The command `interpretdl`. What it can do comes from the registry and the zoo."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer

from ..errors import ImageReadError, InputError, InterpretError
from ..progress import progress_bar, show_progress
from ..version import __version__
from .defaults import DEFAULT_METHOD, DEFAULT_MODEL

if TYPE_CHECKING:
    from ..registry import MethodInfo

__all__ = ["main", "markdown_table", "write_table"]

DONE, SOME_FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    help="Explains what PaddlePaddle image classifiers look at.",
    epilog="Exit code: 0 all done; 1 some pictures could not be read, the others are done; "
    "2 wrong usage or an error, in one line on standard error; 130 Ctrl-C.",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE", help="Pictures, or folders of pictures.")
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="NAME",
        help="A name that `interpretdl models` lists, or package.module:function for your own.",
    ),
]  # fmt: skip
Weights = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Weights for the model: .pdparams, .safetensors or torch's .pth."
    ),
]
Pretrained = Annotated[
    bool | None,
    typer.Option(
        "--pretrained/--no-pretrained",
        help="Published weights, which may be downloaded; or random ones.  "
        "[default: published ones for the default model; must be said for others]",
        show_default=False,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="cpu, gpu or gpu:0.  [default: where Paddle puts it]"),
]
BatchSize = Annotated[
    int | None,
    typer.Option(metavar="N", help="Most inputs in one run.  [default: what the memory allows]"),
]
Output = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Which output, if the model returns several: index or key."),
]
OutputKind = Annotated[
    Literal["logits", "probabilities"] | None,
    typer.Option(help="What the model returns.  [default: noticed]"),
]
Top = Annotated[int, typer.Option(metavar="N", min=1, help="Print the N most likely classes.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only what goes wrong; no progress bar.")
]


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"interpretdl {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def explain(
    images: Images,
    model: Model = DEFAULT_MODEL,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="See `interpretdl methods`.")
    ] = DEFAULT_METHOD,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="Class to explain, by name or number.  [default: each picture's most likely]",
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            "-o",
            metavar="PATH",
            help="File for one picture (.png, .jpg, .pdf, .svg, … or .npz for the numbers), folder "
            "for several.  [default: IMAGE_METHOD.png in the current folder]",
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
    top: Top = 10,
    weights: Weights = None,
    pretrained: Pretrained = None,
    output: Output = None,
    output_kind: OutputKind = None,
    device: Device = None,
    batch_size: BatchSize = None,
    quiet: Quiet = False,
) -> None:
    """Show which parts of a picture speak for a class.

    Prints the most likely classes and writes a picture for each picture given.
    """  # fmt: skip
    from .. import registry
    from ..data_processor.heatmaps import STYLES, check_choice, colormap_of
    from ..interpreter.base import prediction_lines
    from .models import load_model
    from .options import parse_options
    from .pictures import find_pictures, save_paths

    # What can be refused is refused before the work.
    show_progress(not quiet)
    info = registry.find(method)
    options = parse_options(option or [], info.options, info.cls.attribute, method)
    if style is not None:
        check_choice("style", style, STYLES)
    if colormap is not None:
        colormap_of(colormap)
    paths = find_pictures(images)
    several = len(images) > 1 or images[0].is_dir()
    targets = save_paths(paths, save, method, several=several)
    interpreter = info.cls(
        load_model(model, weights=weights, pretrained=pretrained),
        device=device,
        output=_key(output),
        output_kind=output_kind,
        batch_size=batch_size,
    )
    drawing: dict[str, Any] = {"style": style, "colormap": colormap}
    drawing = {name: value for name, value in drawing.items() if value is not None}
    chosen = int(label) if label is not None and label.lstrip("-").isdigit() else label

    def one(path: Path) -> list[str]:
        explanation = interpreter.explain(path, label=chosen, **options)
        target = targets[path]
        explanation.save(target, **drawing)
        lines = prediction_lines(explanation.top(top)[0])
        used = int(explanation.labels[0])
        return [*lines, f"Use label: {used}, {explanation.label_names[0]}", f"Wrote {target}"]

    _for_each(paths, one, "explain", quiet)


@app.command()
def predict(
    images: Images,
    model: Model = DEFAULT_MODEL,
    top: Top = 10,
    weights: Weights = None,
    pretrained: Pretrained = None,
    output: Output = None,
    output_kind: OutputKind = None,
    device: Device = None,
    batch_size: BatchSize = None,
    quiet: Quiet = False,
) -> None:
    """Print the most likely classes of pictures."""
    from ..data_processor.readers import read_images
    from ..interpreter.base import prediction_lines
    from ..lrp_model import imagenet_class_names
    from ..preprocessing import IMAGENET
    from ..probe import Probe
    from .models import load_model
    from .pictures import find_pictures

    show_progress(not quiet)
    paths = find_pictures(images)
    network = load_model(model, weights=weights, pretrained=pretrained)
    probe = Probe(network, device, _key(output), batch_size, output_kind)

    def one(path: Path) -> list[str]:
        read = read_images(path, getattr(network, "preprocessing", None) or IMAGENET)
        logits = probe.logits(read.inputs)
        if logits.ndim != 2:
            raise InputError(
                f"the model's output for a picture is {list(logits.shape)}, not [1, classes]"
            )
        odds = np.exp(logits[0].astype(np.float64) - logits.max())
        names = getattr(network, "class_names", None)
        if names is None and len(odds) == 1000:
            names = imagenet_class_names()
        best = np.argsort(-odds, kind="stable")[:top]
        return prediction_lines(
            [(int(i), names[i] if names else f"class {i}", odds[i] / odds.sum()) for i in best]
        )

    _for_each(paths, one, "predict", quiet)


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="[METHOD]", help="Tell all about this one.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", hidden=True)] = False,
) -> None:
    """List the methods, or one method's options."""
    from .. import registry

    if name is not None:
        typer.echo("\n".join(_about(registry.find(name))))
        return
    if markdown:
        typer.echo("\n".join(markdown_table()))
        return
    known = registry.methods()
    width = max(map(len, known))
    for each in known.values():
        typer.echo(f"{each.name:<{width}}  {each.summary}")


@app.command()
def models() -> None:
    """List the names that --model knows."""
    from ..lrp_model import models as zoo
    from .models import vision_models

    for title, names in (
        ("The zoo, where every operation is a layer:", zoo()),
        ("paddle.vision.models:", [name for name in vision_models() if name not in zoo()]),
    ):
        typer.echo(title)
        for each in names:
            typer.echo(f"  {each}" + ("  (the default)" if each == DEFAULT_MODEL else ""))
    typer.echo("And package.module:function, a function of your own that returns a model.")


def markdown_table() -> list[str]:
    """The methods as the README shows them, one line per method after two of head."""
    from .. import registry

    lines = ["| name | class | what it shows | paper |", "|---|---|---|---|"]
    for info in registry.methods().values():
        paper = f"[{info.paper}]({info.url})" if info.url else info.paper
        lines.append(f"| `{info.name}` | `{info.cls.__name__}` | {info.summary} | {paper} |")
    return lines


def write_table(path: str | Path) -> None:
    """Put `markdown_table` between the markers of a file, the README; `make table` calls it."""
    file = Path(path)
    head, rest = file.read_text(encoding="utf-8").split("<!-- methods -->\n")
    tail = rest.split("<!-- /methods -->")[1]
    table = "\n".join(markdown_table())
    text = f"{head}<!-- methods -->\n{table}\n<!-- /methods -->{tail}"
    file.write_text(text, encoding="utf-8")


def _about(info: MethodInfo) -> list[str]:
    from .options import describe_option

    sign = "signed" if info.signed else "unsigned: pictures show sizes"
    lines = [
        f"{info.name}: {info.summary}",
        "",
        f"  class    interpretdl.{info.cls.__name__}",
        f"  values   {info.layout}, {sign}",
        f"  random   {'yes, repeatable by its seed' if info.random else 'no'}",
        f"  paper    {info.paper} {info.url}".rstrip(),
        "",
        "Options (--option NAME=VALUE):" if info.options else "It has no options.",
    ]
    owner = info.cls.attribute
    return lines + [f"  {describe_option(option, owner)}" for option in info.options.values()]


def _key(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else text


def _for_each(
    paths: Sequence[Path], one: Callable[[Path], list[str]], verb: str, quiet: bool
) -> None:
    """Do the work for each path, print what it returns, and tell at the end what was not read."""
    failures: list[ImageReadError] = []
    several = len(paths) > 1
    with progress_bar(len(paths), verb, "picture") as bar:
        for path in paths:
            try:
                lines = one(path)
            except ImageReadError as error:
                if not several:
                    raise
                failures.append(error)
            else:
                if not quiet:
                    bar.clear()
                    typer.echo("\n".join([f"{path}:", *lines] if several else lines))
            bar.update()
    for failure in failures:
        _complain(str(failure))
    if failures:
        _complain(f"{len(failures)} of {len(paths)} pictures could not be read")
        raise typer.Exit(REFUSED if len(failures) == len(paths) else SOME_FAILED)


def _complain(message: str, kind: str = "error") -> None:
    typer.echo(f"{kind}: {' '.join(message.split())}", err=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: instead of `sys.argv[1:]`.

    Returns:
        the exit code: 0 all done, 1 some pictures could not be read, 2 wrong usage or an error,
        130 interrupted.
    """

    from . import dissect, evaluate  # noqa: F401  # their commands enter themselves in `app`

    def shown(message: Warning | str, *_: Any, **__: Any) -> None:
        _complain(str(message), "warning")

    with warnings.catch_warnings():
        warnings.showwarning = shown
        try:
            result = app(arguments, prog_name="interpretdl", standalone_mode=False)
            sys.stdout.flush()
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            hint = f" (see {context.command_path} --help)" if context else ""
            _complain(error.format_message() + hint)
            return REFUSED
        except InterpretError as error:
            _complain(str(error))
            return REFUSED
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except BrokenPipeError:  # `| head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
    return result if isinstance(result, int) else DONE


if __name__ == "__main__":
    sys.exit(main())
