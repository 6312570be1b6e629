"""PaddleClas's architectures by name."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import paddle
from paddle.utils import unique_name

from ..errors import InputError, WeightsError, did_you_mean, quoted
from ..lrp_model import load_state, load_weights
from ..preprocessing import Preprocessing

__all__ = ["paddleclas_model"]

_INSTALL = (
    "pip install --no-deps paddleclas && pip install opencv-python-headless easydict faiss-cpu "
    "prettytable requests six ujson"
)
_CLASSES = 1000  # of PaddleClas's architectures, unless they are told otherwise


def paddleclas_model(
    name: str,
    weights: str | Path | None = None,
    *,
    class_num: int | None = None,
    **options: Any,
) -> paddle.nn.Layer:
    """Build an architecture of PaddleClas, from the installed package, with weights from a file.

        model = it.paddleclas_model("PPLCNet_x1_0", "PPLCNet_x1_0_pretrained.pdparams")

    `model.preprocessing` is that of PaddleClas's configurations: ImageNet's, with the size that the
    name ends with, 299 pixels for Inception and Xception, and a mean of 0.5 for ViT. Where a model
    was trained in another way, set it.

    Args:
        name: such as "PPLCNet_x1_0", as in PaddleClas's configurations.
        weights: a file, see `lrp_model.load_weights`; None keeps the random weights.
        class_num: how many classes; None takes the number that the weights are for, or 1000.
        options: further arguments of the architecture. Nothing is downloaded unless they say so.

    Returns:
        The model in eval mode.

    Raises:
        InputError: PaddleClas is not installed, has no such name or cannot build it.
        WeightsError: the file cannot be read or is for another architecture.
    """
    build = _builder(name)
    given = dict(options) if class_num is None else {"class_num": class_num, **options}
    model = _built(name, build, given)
    if weights is None:
        return model
    try:
        load_weights(model, weights)
    except WeightsError:
        classes = None if class_num is not None else _classes_in(weights, model)
        if classes is None:
            raise
        model = _built(name, build, {"class_num": classes, **options})
        load_weights(model, weights)
    return model


def _builder(name: str) -> Callable[..., Any]:
    """PaddleClas's function or class of that name."""
    try:
        with _quiet():
            module = import_module("paddleclas.ppcls.arch.backbone")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "paddleclas":
            raise InputError(f"PaddleClas is not installed: {_INSTALL}") from error
        raise InputError(
            f"PaddleClas is installed, but not {missing}, which it imports: {_INSTALL}"
        ) from error
    except Exception as error:
        raise InputError(f"PaddleClas cannot be imported: {error}") from error
    known = {
        key: value
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "").startswith(f"{module.__name__}.")
    }
    if not isinstance(name, str) or name not in known:
        close = did_you_mean(name, known) if isinstance(name, str) else ""
        raise InputError(f"PaddleClas has no model {quoted(name)}{close}")
    build: Callable[..., Any] = known[name]
    return build


def _built(name: str, build: Callable[..., Any], options: dict[str, Any]) -> paddle.nn.Layer:
    if "pretrained" in inspect.signature(build).parameters:
        options = {"pretrained": False, **options}  # some download weights otherwise
    try:
        with _quiet(), _names_again():
            model = build(**options)
    except Exception as error:
        raise InputError(
            f"PaddleClas cannot build {name}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, paddle.nn.Layer):
        raise InputError(f"PaddleClas's {name} is no model but gives {type(model).__name__}")
    model.preprocessing = _preprocessing(name)
    model.eval()
    return model


def _preprocessing(name: str) -> Preprocessing:
    if name.startswith(("Inception", "Xception")):
        return Preprocessing(resize=320, crop=299)
    end = re.search(r"_(\d{3})$", name)
    size = int(end[1]) if end else 224
    if name.startswith("ViT_"):
        short = 256 if size == 224 else size
        return Preprocessing(resize=short, crop=size, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Preprocessing(resize=size * 8 // 7, crop=size)


def _classes_in(weights: str | Path, model: paddle.nn.Layer) -> int | None:
    """The number of classes of weights that differ from the model's in nothing else."""
    given, apart = load_state(weights), set()
    for name, tensor in model.state_dict().items():
        shape = given[name].shape if name in given else None
        if shape is None or len(shape) != tensor.ndim:
            return None
        apart |= {(own, other) for own, other in zip(tensor.shape, shape, strict=True)}
    apart = {(own, other) for own, other in apart if own != other}
    ((own, other),) = apart if len(apart) == 1 else ((None, None),)
    return int(other) if own == _CLASSES and other is not None else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What PaddleClas logs when it is imported and builds, which is for who trains, is not seen.
    It would write it to standard output.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # its logger keeps the stream
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _names_again() -> Iterator[None]:
    """Parameters may have names that others had before.

    Many of PaddleClas's architectures name their parameters themselves, and Paddle refuses a name
    that was ever used: two such models could not be built.
    """
    generator, checker = unique_name.switch()
    unique_name.switch(generator)
    try:
        yield
    finally:
        unique_name.switch(generator, checker)
