"""Models by name: of the zoo, of paddle.vision, exported, or from a function of one's own."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import paddle

from .errors import InputError, WeightsError, did_you_mean
from .exported import load_exported
from .lrp_model import load_weights, models
from .suites import paddleclas_model

__all__ = ["imported", "load_model", "vision_models"]

_PACKAGED = "efficientnet_lite0"  # whose trained weights come as a package


def vision_models() -> dict[str, Any]:
    """The functions of `paddle.vision.models` that build a network, by name."""
    vision = paddle.vision.models
    return {
        name: getattr(vision, name)
        for name in sorted(vision.__all__)
        if inspect.isfunction(getattr(vision, name))
    }


def load_model(
    name: str = _PACKAGED,
    *,
    weights: str | Path | None = None,
    pretrained: bool | None = None,
) -> paddle.nn.Layer:
    """Build a model and give it its weights.

    Args:
        name: a name in `interpretdl.lrp_model.models()` or `vision_models()`;
            "paddleclas:NAME", an architecture of the installed PaddleClas;
            "exported:inference.json", an exported model, which has its weights; or
            "package.module:function", a function without arguments that returns the model. It is
            looked for in the current directory too.
        weights: a file with weights that fit the model.
        pretrained: True takes the published weights, which may download them; False keeps the
            random ones. None takes the published ones for the default model, keeps those of a
            function of one's own, and is an error for other models without a file.

    Raises:
        InputError: an unknown name, or it is not said which weights.
        WeightsError: the weights cannot be downloaded or do not fit.
    """
    if weights is not None and pretrained:
        raise InputError("give either a file with weights or ask for the published ones, not both")
    if name.startswith("paddleclas:"):
        return _of_paddleclas(name.removeprefix("paddleclas:"), weights, pretrained)
    if name.startswith("exported:"):
        if weights is not None or pretrained is not None:
            raise InputError(
                "an exported model has its weights beside it, in its .pdiparams file: leave "
                "--weights, --pretrained and --no-pretrained out"
            )
        return load_exported(name.removeprefix("exported:"))
    if ":" in name:
        model = _own_model(name)
        if weights is not None:
            load_weights(model, weights)
        return model
    zoo, vision = models(), vision_models()
    if name not in zoo and name not in vision:
        raise InputError(
            f"no model {name!r}{did_you_mean(name, [*zoo, *vision])}; `interpretdl models` lists "
            "them, and package.module:function gives one of your own"
        )
    if weights is None and pretrained is None:
        if name != _PACKAGED:
            raise InputError(
                f"{name} starts with random weights: give --weights FILE, or --pretrained for the "
                "published ones (a download), or --no-pretrained if random weights are wanted"
            )
        pretrained = True
    if name in zoo:
        return zoo[name](pretrained=pretrained if weights is None else weights)
    return _vision_model(name, weights, bool(pretrained))


def _of_paddleclas(name: str, weights: str | Path | None, pretrained: bool | None) -> Any:
    model = paddleclas_model(name, weights)  # says first if there is no such name
    if weights is None and pretrained is not False:
        raise InputError(
            f"paddleclas:{name} starts with random weights: give --weights FILE, with PaddleClas's "
            "published ones or your own, or --no-pretrained if random weights are wanted"
        )
    return model


def _vision_model(name: str, weights: str | Path | None, pretrained: bool) -> paddle.nn.Layer:
    try:
        model = vision_models()[name](pretrained=pretrained)
    except (RuntimeError, OSError) as error:
        raise WeightsError(f"cannot get the published weights of {name}: {error}") from error
    if weights is not None:
        load_weights(model, weights)
    return model


def imported(name: str, noun: str = "model") -> Any:
    """What "package.module:name" names; the module is looked for in the current directory too.

    Raises:
        InputError: there is no such module, or nothing of that name in it.
    """
    module_name, _, function_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except SystemExit as error:
        raise _ended(name, error) from error
    except ModuleNotFoundError as error:
        # a module that is there but lacks one of its own imports has its own error
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise InputError(
            f"no module {module_name!r} for the {noun} {name!r}; it is looked for in the current "
            "directory and among what is installed"
        ) from error
    except (ValueError, TypeError) as error:  # ":function", "..module:function"
        raise InputError(
            f"a {noun} of one's own is package.module:function; got {name!r}"
        ) from error
    if not hasattr(module, function_name):
        raise InputError(
            f"module {module_name!r} has no {function_name!r}"
            f"{did_you_mean(function_name, dir(module))}"
        )
    return getattr(module, function_name)


def _own_model(name: str) -> paddle.nn.Layer:
    model = imported(name)
    if not isinstance(model, paddle.nn.Layer) and callable(model):
        try:
            inspect.signature(model).bind()
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} must be callable without arguments: {error}") from error
        try:
            model = model()
        except SystemExit as error:
            raise _ended(name, error) from error
    if not isinstance(model, paddle.nn.Layer):
        raise InputError(
            f"{name} must be a model or a function that returns one, a paddle.nn.Layer; it gave "
            f"{type(model).__name__}"
        )
    return model


def _ended(name: str, error: SystemExit) -> InputError:
    return InputError(
        f"{name} ended the program (exit code {error.code!r}) instead of returning a model"
    )
