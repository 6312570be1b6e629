"""A shallow copy of a model: layers of its own, parameters shared.

A run changes layers: hooks, eval mode, what a forward pass keeps in attributes. On a copy these
changes reach neither the user's model nor another thread that runs it at the same time.
"""

from __future__ import annotations

import functools
import types
from collections import OrderedDict, defaultdict
from typing import Any

import paddle
from paddle.jit.dy2static.program_translator import StaticFunction
from paddle.jit.pir_translated_layer import PirTranslatedLayer
from paddle.jit.translated_layer import TranslatedLayer

from ..tensors import HALF

__all__ = ["Copies", "is_program"]

_HALF = ("float16", "bfloat16")
_PLAIN = frozenset({int, float, str, bool, type(None)})
_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, list, set})
_FUNCTIONS = (types.MethodType, types.FunctionType, functools.partial, StaticFunction)


class Copies:
    """The copies of a model's layers.

    A parameter's copy has the same memory and is frozen; of one in half precision it is in float32,
    but for programs, whose operations are for the type that was saved. A buffer's copy has memory
    of its own, as a forward pass may write there in eval mode too. Lists, dicts, sets and tuples in
    attributes are copied, and so are functions that hold a layer; all else is shared.

    Attributes:
        original, model: the model, and its copy, which is in the same mode.
        layers: the model's layers and their copies.
    """

    def __init__(self, model: Any) -> None:
        originals = model.sublayers(include_self=True)
        # Without __init__, which would make parameters.
        self.layers = [(layer, object.__new__(type(layer))) for layer in originals]
        self._by_id: dict[int, Any] = {id(layer): copy for layer, copy in self.layers}
        self._kept: list[Any] = []  # an id counts as long as what it was made for lives
        for layer in originals:
            self._copy_tensors(layer)
        for layer, copy in self.layers:
            held = vars(copy)
            held.update(vars(layer))
            if str(held.get("_dtype")).removeprefix("paddle.") in _HALF and not is_program(layer):
                held["_dtype"] = "float32"
            for name, value in vars(layer).copy().items():
                if type(value) not in _PLAIN:
                    held[name] = self._of(value)
        self.original, self.model = model, self._by_id[id(model)]

    def of(self, layer: Any) -> Any:
        """A layer's copy; itself, if it is none of the model's."""
        return self._by_id.get(id(layer), layer)

    def _copy_tensors(self, layer: Any) -> None:
        # A batch-norm that is told to use its batch's statistics writes its running ones.
        writes, program = getattr(layer, "_use_global_stats", None) is False, is_program(layer)
        for name, tensor in layer._parameters.copy().items():
            if tensor is not None and tensor._is_initialized():
                own = writes and name in ("_mean", "_variance")
                self._by_id[id(tensor)] = _copied(tensor, own, program)
        for tensor in layer._buffers.copy().values():
            # A new LSTM has a buffer without memory.
            if tensor is not None and tensor._is_initialized():
                self._by_id[id(tensor)] = _copied(tensor, True, program)

    def _of(self, value: Any) -> Any:
        """The copy of what a layer holds."""
        kind = type(value)
        if kind in _CONTAINERS:  # most are empty: a layer has a dozen for hooks
            return self._container(value) if value else value.copy()
        if kind is tuple:
            return tuple(map(self._of, value))
        if isinstance(value, _FUNCTIONS):
            return self._function(value)
        return self._by_id.get(id(value), value)

    def _container(self, value: Any) -> Any:
        if id(value) in self._by_id:
            return self._by_id[id(value)]
        new = value.copy()
        self._by_id[id(value)] = new  # first, for one that holds itself
        self._kept.append(value)
        if isinstance(new, dict):
            pairs = [(self._of(k), self._of(v)) for k, v in new.items()]
            new.clear()
            new.update(pairs)
        elif isinstance(new, list):
            new[:] = map(self._of, new)
        else:
            members = set(map(self._of, new))
            new.clear()
            new |= members
        return new

    def _function(self, value: Any) -> Any:
        """A function that works on the copies where it would on the layers."""
        if isinstance(value, StaticFunction):
            # What was made static for eval mode has no backward pass.
            return self._function(value.dygraph_function)
        if isinstance(value, types.MethodType):
            owner = self.of(value.__self__)
            return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
        if isinstance(value, functools.partial):
            keywords = {name: self._of(each) for name, each in value.keywords.items()}
            return type(value)(self._of(value.func), *map(self._of, value.args), **keywords)
        cells = [self._cell(cell) for cell in value.__closure__ or ()]
        if not any(new is not old for new, old in zip(cells, value.__closure__ or (), strict=True)):
            return value
        new = types.FunctionType(
            value.__code__, value.__globals__, value.__name__, value.__defaults__, tuple(cells)
        )
        new.__kwdefaults__ = value.__kwdefaults__
        vars(new).update(vars(value))
        return new

    def _cell(self, cell: types.CellType) -> types.CellType:
        try:
            held = cell.cell_contents
        except ValueError:  # not yet assigned
            return cell
        # Layers only: what a user's hook collects in a list is for the user.
        copy = self.of(held) if isinstance(held, paddle.nn.Layer | paddle.Tensor) else held
        return cell if copy is held else types.CellType(copy)


def is_program(model: Any) -> bool:
    """Whether it comes from paddle.jit.load: a program of operations, without layers."""
    return isinstance(model, TranslatedLayer | PirTranslatedLayer)


def _copied(tensor: Any, own: bool, program: bool) -> Any:
    """A frozen copy, `own` with memory of its own."""
    found = tensor.detach()
    if found.dtype in HALF and not program:
        return found.astype("float32")
    return found.clone() if own else found
