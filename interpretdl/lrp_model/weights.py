"""Weights from files into models: read without running code, checked before a number changes."""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from ..errors import InputError, ResourceError, WeightsError
from ..pickles.files import brief, open_regular
from ..pickles.machine import MALFORMED, Budget, read_pickle
from ..pickles.values import Array, malformed
from .layers import Pretrained, RelevanceModel, imagenet_class_names
from .torch_pickle import LEGACY_MAGIC, read_legacy, read_zip

__all__ = ["load_state", "load_weights"]

Model = TypeVar("Model", bound=RelevanceModel)
State = dict[str, NDArray[Any]]

_STRUCTURE = "StructuredToParameterName@@"  # Paddle's own table of names, no weight
_NESTED = ("state_dict", "model_state_dict", "model")  # where training programs put the weights
_TORCH_ONLY = (".running_mean", ".running_var", ".num_batches_tracked")


def load_state(path: str | Path, *, trust: bool = False) -> State:
    """Read the arrays in a file of weights, by the names they have there.

    Args:
        path: Paddle's .pdparams, .safetensors, or torch's .pth or .pt of either format. What it is
            is seen from the content, safetensors from the name.
        trust: True unpickles a .pdparams with Python's own unpickler, which **runs whatever code
            the file contains**; only for files of your own. Never done unless asked for.

    Returns:
        {name: array} of the file's dictionary, or of the "state_dict" or "model" that a training
        program has put into it; bfloat16 in torch's files becomes float32. Arrays may share memory
        and may be read-only.

    Raises:
        WeightsError: the file is missing, damaged, no file (a pipe, a device), wants names off
            the allow-list, or asks for more work and memory than its size justifies.
        ResourceError: the weights do not fit into memory.
        InputError: `path` is no path.
    """
    return _read(path, trust)[0]


def load_weights(model: nn.Layer, path: str | Path, *, trust: bool = False) -> None:
    """Fit the weights in a file into any model, or leave the model as it is and say why not.

    Torch's names and layout are translated: running_mean and running_var, num_batches_tracked
    (dropped), the weights of linear layers (transposed), a "module." before every name.

    Args:
        model: any Paddle model; is changed in place.
        path, trust: as in `load_state`.

    Raises:
        WeightsError: the file cannot be read, or names, shapes or dtypes differ from the
            model's, or numbers are beyond what the model's dtype holds; the message lists them.
            The model is untouched then.
        ResourceError, InputError: as `load_state`.
    """
    state, from_torch = _read(path, trust)
    own = model.state_dict()
    if from_torch is None:
        from_torch = _looks_like_torch(model, state)
    if from_torch:
        state = _translate(model, state)
    wanted = {name: (tuple(t.shape), t.numpy().dtype) for name, t in own.items()}
    given = {name: (array.shape, array.dtype) for name, array in state.items()}
    wrong = [
        f"{brief(name, 80)} is {_describe(*given[name])}, expected {_describe(*want)}"
        for name, want in wanted.items()
        if name in given
        and (given[name][0] != want[0] or given[name][1].kind != want[1].kind)  # f4 for f8 is fine
    ]
    problems = _listed(
        missing=[name for name in wanted if name not in given],
        unexpected=[name for name in given if name not in wanted],
        mis_shaped=wrong,
    )
    fitted: State = {}
    if not problems:
        fitted = {name: _cast(state[name], dtype) for name, (_, dtype) in wanted.items()}
        problems = _listed(
            out_of_range=[name for name in wanted if _changed(state[name], fitted[name])]
        )
    if problems:
        raise WeightsError(
            f"the weights in {brief(str(path), 500)} are not for this {type(model).__name__}: "
            f"{problems}. Give a file of the same architecture, num_classes and in_channels"
        )
    for name, tensor in own.items():
        tensor.set_value(fitted[name])


def _listed(**problems: list[str]) -> str:
    return "; ".join(
        f"{len(names)} {what.replace('_', '-')}: "
        f"{', '.join(brief(name, 300) for name in names[:3])}{', …' if len(names) > 3 else ''}"
        for what, names in problems.items()
        if names
    )


def _cast(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):  # `_changed` looks
        return array.astype(dtype, order="C", copy=False)


def _changed(array: NDArray[Any], cast: NDArray[Any]) -> bool:
    """Whether a number became infinite, or an integer another."""
    if cast.dtype.kind != "f":
        return bool(np.any(array != cast))
    return cast.dtype != array.dtype and bool(np.any(np.isfinite(array) & ~np.isfinite(cast)))


def finish(model: Model, pretrained: Pretrained, published: Callable[[], Path]) -> Model:
    """The end of every builder: weights as asked for, and the class names that go with them."""
    if pretrained is not False:
        load_weights(model, published() if pretrained is True else pretrained)
        if model.num_classes == len(imagenet_class_names()):
            model.class_names = imagenet_class_names()
    return model


def _describe(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{dtype}{list(shape)}"


# ---- files ----


def _read(path: str | Path, trust: bool) -> tuple[State, bool | None]:
    """The arrays of a file, and whether names and layout are torch's (None: cannot be told)."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"the path of a file of weights is expected; got {type(path).__name__}")
    path = Path(path)
    shown = brief(str(path), 500)
    try:
        with open_regular(path) as file:
            root, from_torch = _read_root(path, file, trust)
        state: State = {}
        for name, array in _entries(root):
            if name in state:
                raise malformed(f"two entries named {brief(repr(name))}")
            state[name] = array
    except WeightsError as error:
        raise WeightsError(f"{shown}: {error}") from error
    except OSError as error:
        why = brief(error.strerror or str(error))
        raise WeightsError(f"cannot read the weights {shown}: {why}") from error
    except MemoryError as error:
        raise ResourceError(
            f"the weights {shown} do not fit into memory; free some, or take a smaller file"
        ) from error
    return state, from_torch


def _read_root(path: Path, file: IO[bytes], trust: bool) -> tuple[Any, bool | None]:
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise malformed("an empty file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if file.read(4) == b"PK\x03\x04":
        return read_zip(file, Budget(size)), True
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stream:
        return _read_pickled(stream, Budget(size), trust)


def _read_pickled(stream: mmap.mmap, budget: Budget, trust: bool) -> tuple[Any, bool]:
    # torch's legacy files begin with a pickle of one number
    if stream[:64].find(LEGACY_MAGIC.to_bytes(10, "little")) >= 0:
        read_pickle(stream, budget)
        return read_legacy(stream, budget), True
    if not trust:
        return read_pickle(stream, budget), False
    try:
        return pickle.load(stream, encoding="latin1"), False  # noqa: S301 - asked for by trust=True
    except (pickle.UnpicklingError, EOFError, ImportError, *MALFORMED) as error:
        raise malformed(f"no pickle ({type(error).__name__}: {brief(str(error))})") from error


def _read_safetensors(path: Path) -> tuple[State, bool | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            made_by = (file.metadata() or {}).get("format")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    except (SafetensorError, ValueError) as error:  # ValueError: a shape that NumPy does not have
        raise malformed(f"no safetensors file ({brief(str(error))})") from error
    except (TypeError, AttributeError) as error:
        raise WeightsError(
            f"holds numbers of a type that NumPy does not have ({brief(str(error))}); "
            "save them as float32"
        ) from error
    return state, True if made_by == "pt" else None


def _entries(root: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(root, dict):
        root = next((root[key] for key in _NESTED if isinstance(root.get(key), dict)), root)
    if not isinstance(root, dict):
        raise WeightsError(f"holds a {type(root).__name__}, not a dictionary of weights")
    for name, value in root.items():
        if isinstance(name, str) and name == _STRUCTURE:
            continue
        # Paddle writes some tensors as (name, array)
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        array = array.value if isinstance(array, Array) else array
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind not in "biuf":
            kind = type(value).__name__
            if isinstance(array, np.ndarray | np.generic):
                kind = f"{kind} of {brief(str(array.dtype), 80)}"
            shown = brief(repr(name)) if isinstance(name, str | int) else type(name).__name__
            raise WeightsError(f"the entry {shown} is a {kind}, not an array of numbers")
        yield str(name), np.asarray(array)


# ---- torch's names and layout ----


def _linear_weights(model: nn.Layer) -> set[str]:
    return {
        f"{name}.weight" if name else "weight"
        for name, layer in model.named_sublayers(include_self=True)
        if isinstance(layer, nn.Linear)
    }


def _looks_like_torch(model: nn.Layer, state: State) -> bool:
    """Whether a file that does not say so has torch's names, or else its linear layers' layout."""
    if any(name.endswith(_TORCH_ONLY) for name in state):
        return True
    own = model.state_dict()
    layouts = {
        state[name].shape == tuple(own[name].shape)
        for name in _linear_weights(model)
        if name in state and own[name].shape[0] != own[name].shape[1]
    }
    return layouts == {False}


def _translate(model: nn.Layer, state: State) -> State:
    linear = _linear_weights(model)
    own_name = model.own_name if isinstance(model, RelevanceModel) else str
    wrapped = all(name.startswith("module.") for name in state)
    result: State = {}
    for name, array in state.items():
        if name.endswith(".num_batches_tracked"):
            continue
        if wrapped:
            name = name.removeprefix("module.")
        name = own_name(name)
        for theirs, ours in ((".running_mean", "._mean"), (".running_var", "._variance")):
            if name.endswith(theirs):
                name = name.removesuffix(theirs) + ours
        if name in result:
            raise WeightsError(f"holds {brief(name)} twice, by torch's name and by Paddle's")
        result[name] = array.T if name in linear and array.ndim == 2 else array
    return result
