"""A model as a program of Paddle's inference engine, run by oneDNN on the CPU."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from .hooks import INPUT, Array, Tensor, watch
from .inputs import Inputs, each, listed
from .quiet import quiet_paddle
from .state import place_of

try:
    from paddle.jit.dy2static import parameter_recorder as recorder
except ImportError:  # before Paddle 3.3
    from paddle.jit.pir_dy2static import parameter_recorder as recorder

__all__ = ["Program", "not_built", "saved", "unavailable"]

_PREFIX = "interpretdl-program-"


def not_built() -> str:
    """Why this Paddle runs no programs by oneDNN; empty where it does."""
    core = paddle.base.core
    compiled = getattr(core, "is_compiled_with_onednn", None) or core.is_compiled_with_mkldnn
    return "" if compiled() else "this Paddle was built without oneDNN"


def unavailable(model: Any) -> str:
    """Why no program is made of a model; empty where one is tried."""
    if not place_of(model).is_cpu_place():
        return "the model is on a GPU"
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if kinds != {paddle.float32}:
        return "its parameters are not all float32"
    return not_built()


class Program:
    """A model's forward pass, traced.

    Its files are in a temporary folder while it is made. The weights are in memory a second time.

    Args:
        model: a copy of the user's, which tracing changes.
        pick: from what the model returns to the tensor that is explained.
        x: inputs; the number of rows does not matter.
        names: layers whose outputs are wanted too.
        bfloat16: compute in it where oneDNN can.

    Raises:
        Exception: of any kind, from Paddle's compiler, for what it cannot trace; OSError.
    """

    def __init__(
        self,
        model: Any,
        pick: Callable[[Any], Tensor],
        x: Inputs,
        names: Sequence[str],
        bfloat16: bool = False,
    ) -> None:
        with saved(model, pick, x, names) as folder:
            self._predictor = _predictor(folder, bfloat16)
        get = self._predictor.get_input_handle
        self._inputs = [get(f"x{k}") for k in range(len(listed(x)))]

    def __call__(self, x: Inputs) -> list[Array]:
        """The output, and the outputs of the layers."""
        for handle, part in zip(self._inputs, listed(x), strict=True):
            handle.copy_from_cpu(np.ascontiguousarray(part, _dtype(part)))
        with quiet_paddle():
            self._predictor.run()
        names = self._predictor.get_output_names()
        return [self._predictor.get_output_handle(name).copy_to_cpu() for name in names]


@contextlib.contextmanager
def saved(
    model: Any, pick: Callable[[Any], Tensor], x: Inputs, names: Sequence[str] = ()
) -> Iterator[Path]:
    """A folder with the traced model, whose inputs are x0, x1, …; removed afterwards.

    Paddle is quiet until then.
    """
    numbers = itertools.count()
    specs = each(x, lambda part: _specification(part, f"x{next(numbers)}"))
    _remove_what_was_left()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    try:
        with quiet_paddle(), warnings.catch_warnings(), contextlib.ExitStack() as stack:
            warnings.simplefilter("ignore")
            layers = dict(model.named_sublayers())
            captured = watch(
                stack, lambda name: layers[name.removesuffix(INPUT)], names, None, leaves=False
            )
            with _records():
                traced = paddle.jit.to_static(
                    _Traced(model, pick, captured), input_spec=[specs], full_graph=True
                )
                paddle.jit.save(traced, f"{folder}/model")
            yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _dtype(part: Array) -> Any:
    """Floats are given as the parameters are."""
    return np.float32 if part.dtype.kind == "f" else part.dtype


def _specification(part: Array, name: str) -> Any:
    shape, dtype = [None, *part.shape[1:]], str(np.dtype(_dtype(part)))
    return paddle.static.InputSpec(shape, dtype, name)


class _Traced(paddle.nn.Layer):
    """Returns the tensor that is explained, and the outputs of layers."""

    def __init__(self, model: Any, pick: Any, captured: Any) -> None:
        super().__init__()
        self.model, self.pick, self.captured = model, pick, captured
        self.eval()

    def forward(self, inputs: Any) -> Any:
        if isinstance(inputs, dict):
            raw = self.model(**inputs)
        elif isinstance(inputs, tuple | list):
            raw = self.model(*inputs)
        else:
            raw = self.model(inputs)
        return [self.pick(raw), *self.captured().values()]


def _predictor(folder: Path, bfloat16: bool) -> Any:
    # Paddle 3.0 may write .pdmodel.
    program = next(path for path in folder.iterdir() if path.suffix in (".json", ".pdmodel"))
    config = paddle.inference.Config(str(program), str(folder / "model.pdiparams"))
    config.disable_gpu()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    config.enable_mkldnn()
    if bfloat16:
        config.enable_mkldnn_bfloat16()
    return paddle.inference.create_predictor(config)


@contextlib.contextmanager
def _records() -> Iterator[None]:
    """Forget what a trace that failed has recorded: Paddle (3.3.1) takes a later program of the
    same number, the user's own too, to have those parameters.
    """
    tables = (
        recorder._global_parameter_recorder.params_dict,
        recorder._global_parameter_recorder.tensor2value,
        recorder._global_inplace_map.params_dict,
    )
    before = [set(table) for table in tables]
    try:
        yield
    finally:
        for table, known in zip(tables, before, strict=True):
            for number in set(table) - known:
                del table[number]


def _remove_what_was_left() -> None:
    """Folders of processes of this user that ended without removing theirs."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdigit() and not Path("/proc", process).exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)
