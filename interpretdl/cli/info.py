"""The command `interpretdl info`: what a report of a fault, or of a time, needs to say."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Iterator
from typing import Any

from ..version import __version__
from .tables import echo_columns

__all__ = ["facts", "info"]


def info() -> None:
    """Print the versions, the processor and its speed, and the engines, for a report."""
    echo_columns([f"{name}:", value] for name, value in facts())


def facts() -> Iterator[tuple[str, str]]:
    """Name and value of each line."""
    import numpy
    import paddle

    from ..probe.program import not_built
    from ..processor import FAST_PRODUCTS, this_processor

    yield "interpretdl", f"{__version__}, Python {platform.python_version()}"
    yield "system", platform.platform()
    gpu = "with CUDA" if paddle.device.is_compiled_with_cuda() else "for the CPU"
    mkl = "with" if paddle.version.mkl() == "ON" else "without"
    yield (
        "Paddle",
        f"{paddle.__version__} {gpu}, {mkl} MKL, commit {paddle.version.commit[:10]}; "
        f"NumPy {numpy.__version__}",
    )
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    yield "processor", f"{this_processor().name or 'unknown'}; {_cores()} cores"
    yield "threads", f"OMP_NUM_THREADS {threads}"
    yield "fast products on AMD", FAST_PRODUCTS
    reason = not_built()
    yield "engines", "dygraph; " + (f"no onednn: {reason}" if reason else "onednn, onednn-bf16")
    yield "matrix products", f"{_products_per_second(paddle):.0f} GFLOP/s (1024 × 1024, float32)"
    yield "free memory", f"{_free(paddle):.1f} GB"
    yield "GPUs", _gpus(paddle)


def _cores() -> int:
    """Those that this process may use."""
    count = getattr(os, "sched_getaffinity", None)
    return len(count(0)) if count else os.cpu_count() or 1


def _products_per_second(paddle: Any, size: int = 1024, repeats: int = 7) -> float:
    """10⁹ operations a second, the median of a few products on the CPU."""
    a = paddle.ones([size, size], "float32").cpu()
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        paddle.matmul(a, a)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds[1:]) / 1e9


def _free(paddle: Any) -> float:
    from ..probe.batches import free_bytes

    return free_bytes(paddle.empty([0]).cpu().place) / 1e9


def _gpus(paddle: Any) -> str:
    if not paddle.device.is_compiled_with_cuda():
        return "none: this Paddle is for the CPU"
    count = paddle.device.cuda.device_count()
    names = [paddle.device.cuda.get_device_name(i) for i in range(count)]
    return ", ".join(names) or "none found"
