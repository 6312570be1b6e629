"""Pictures of a shard, as files, items of data sets and batches."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ..data_processor.readers import Batch

__all__ = ["channels_last", "file_digest", "joined"]


def file_digest(path: str) -> str:
    """SHA-256 of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            total.update(part)
    return total.hexdigest()


def channels_last(item: Any) -> Any:
    """A data set's picture; integers [C, H, W] as [H, W, C]."""
    array = item.numpy() if hasattr(item, "numpy") else item
    if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.ndim == 3:
        channels = (1, 3, 4)
        if array.shape[0] in channels and array.shape[2] not in channels:
            return array.transpose(1, 2, 0)
    return array


def joined(batches: list[Batch]) -> Batch:
    """Batches of one picture each, of one size, as one."""
    return Batch(
        inputs=np.concatenate([batch.inputs for batch in batches]),
        images=np.concatenate([batch.images for batch in batches if batch.images is not None]),
        sources=tuple(batch.sources[0] for batch in batches),
        indices=tuple(range(len(batches))),
        failures={},
    )
