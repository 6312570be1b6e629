"""How many images to run at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ..errors import InputError
from ..hints import check_value
from .inputs import count, listed

__all__ = ["BatchPlan", "free_bytes"]

# More images at once bring no speed on a processor, only memory. Gradients of four are faster than
# those of eight, by a sixth on ResNet-50, because more stays in its caches.
_LARGEST = {"cpu": 8, "gpu": 64}
_LARGEST_WITH_GRADIENT = {"cpu": 4, "gpu": 64}


class BatchPlan:
    """The largest batch that pays and fits in the memory that is free.

    What an image needs is measured in the first run of one image, which is not thrown away.

    Args:
        fixed: batch size to use instead of planning; None plans.

    Raises:
        InputError: fixed is no whole number, or below 1.
    """

    def __init__(self, fixed: int | None = None) -> None:
        check_value("batch_size", fixed, int | None)
        if fixed is not None and fixed < 1:
            raise InputError(f"batch_size must be at least 1, or None; got {fixed}")
        self.fixed = fixed
        self._bytes_per_item: dict[tuple[tuple[tuple[int, ...], ...], bool], int] = {}
        self._values: dict[tuple[tuple[int, ...], ...], int] = {}

    def size(self, x: Any, place: Any, gradient: bool) -> int:
        """Items like those of x, arrays or tensors, to run at once on a paddle place."""
        if self.fixed is not None:
            return self.fixed
        known = self._bytes_per_item.get((_shapes(x), gradient))
        if known is None:
            return 1
        # Half of what is free: the operators' own work space is not counted.
        fitting = free_bytes(place) // 2 // known
        largest = _LARGEST_WITH_GRADIENT if gradient else _LARGEST
        return int(np.clip(fitting, 1, largest["gpu" if place.is_gpu_place() else "cpu"]))

    def values(self, x: Any) -> int | None:
        """How many values all layers give for an item like those of x; None before a run of one."""
        return self._values.get(_shapes(x))

    def measure(
        self, stack: contextlib.ExitStack, layers: Iterable[Any], x: Any, gradient: bool
    ) -> None:
        """Learn what items like x's need, in the run of x that follows, until `stack` closes."""
        key = (_shapes(x), gradient)
        if key in self._bytes_per_item:
            return
        sizes = [_bytes(part) for part in listed(x)]
        values = [0]

        def note(layer: Any, inputs: Any, output: Any) -> None:
            if isinstance(output, paddle.Tensor):
                sizes.append(_bytes(output))
                values.append(int(np.prod(output.shape)))

        for layer in layers:
            if not layer._sub_layers:
                stack.callback(layer.register_forward_post_hook(note).remove)

        def done() -> None:
            # Activations, their gradients and as much again; without gradient, a few largest.
            total = 3 * sum(sizes) if gradient else 4 * max(sizes)
            self._bytes_per_item[key] = max(1, total // count(x))
            self._values[key[0]] = sum(values) // count(x)

        stack.callback(done)


def _shapes(x: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(part.shape[1:]) for part in listed(x))


def _bytes(tensor: paddle.Tensor) -> int:
    return int(np.prod(tensor.shape)) * int(tensor.element_size())


def _cgroup_free() -> int | None:
    """Bytes left in a container's memory limit, None where there is no limit."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = (root / "memory.max").read_text().strip()
        used = int((root / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def free_bytes(place: Any) -> int:
    """Bytes free on a paddle place: the GPU's memory, or the machine's or container's."""
    if place.is_gpu_place():
        device = place.gpu_device_id()
        total = int(paddle.device.cuda.get_device_properties(device).total_memory)
        return total - int(paddle.device.cuda.memory_allocated(device))
    import psutil

    free = int(psutil.virtual_memory().available)
    container = _cgroup_free()
    return free if container is None else min(free, container)
