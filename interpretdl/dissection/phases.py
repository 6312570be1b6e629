"""The two phases of a dissection. Each keeps its state in a file, so that it can be continued."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import read_archive, write_archive
from ..errors import InputError, UnsupportedModelError
from .quantile import TailQuantile
from .tally import Strongest, Tally

__all__ = ["Phase", "TallyPhase", "ThresholdPhase", "Units", "rotation"]

Floats = NDArray[np.float32]


def rotation(units: int, seed: int) -> Floats:
    """A random rotation [units, units], uniform over the orthogonal group."""
    drawn = np.random.default_rng([seed, units]).normal(size=(units, units))
    q, r = np.linalg.qr(drawn)
    # The signs make it uniform (Mezzadri 2007, https://arxiv.org/abs/math-ph/0609050).
    turned: Floats = (q * np.sign(np.diag(r))).astype(np.float32)
    return turned


class Units:
    """The units that are dissected: a layer's own, or a random rotation of them."""

    def __init__(self, layer: str, rotated: bool, seed: int) -> None:
        self.layer, self.rotated, self.seed = layer, rotated, seed
        self.name = f"{layer}-rotated" if rotated else layer
        self.file_name = re.sub(r"[^\w.-]", "_", self.name)
        self._rotation: Floats | None = None

    def maps(self, activations: Mapping[str, NDArray[Any]]) -> Floats:
        """The units' maps float32 [N, U, h, w] from `Probe.activations`.

        Raises:
            UnsupportedModelError: the layer's output is not spatial.
        """
        maps = activations[self.layer].astype(np.float32, copy=False)
        if maps.ndim != 4:
            raise UnsupportedModelError(
                f"dissection needs a layer with an output [N, C, h, w]; that of {self.layer!r} is "
                f"{list(maps.shape)}"
            )
        if self.rotated:
            n, units, h, w = maps.shape
            if self._rotation is None:
                self._rotation = rotation(units, self.seed)
            maps = (self._rotation @ maps.reshape(n, units, h * w)).reshape(maps.shape)
        return maps


class Phase:
    """One pass through the images for the units of a layer.

    Args:
        units: what is dissected.
        folder: where the files go.
        total: number of images.
        fingerprint: what the result depends on; a file with another one is refused.
    """

    name = ""

    def __init__(
        self, units: Units, folder: Path, total: int, fingerprint: Mapping[str, Any]
    ) -> None:
        self.units, self.total = units, total
        self.fingerprint = {**fingerprint, "layer": units.layer, "rotated": units.rotated}
        self.file = folder / f"{units.file_name}-{self.name}.npz"
        self.partial = folder / f"{units.file_name}-{self.name}.partial.npz"
        self.done = 0
        self.result: dict[str, NDArray[Any]] = {}

    def load(self) -> None:
        """Continue from the files, if there are any.

        Raises:
            InputError: it was made with another model, data or settings.
        """
        for path in (self.file, self.partial):
            if path.exists():
                arrays, metadata = read_archive(path)
                self._check(path, metadata.get("fingerprint", {}))
                self.done = int(metadata["done"])
                if path == self.file:
                    self.result = arrays
                else:
                    self.restore(arrays, metadata)
                return

    def save(self) -> None:
        """Write the state, or the result when all images are done."""
        if self.result:
            return
        if self.done == self.total:
            self.result = self.finish()
            write_archive(self.file, self.result, self._metadata())
            self.partial.unlink(missing_ok=True)
        elif self.done:
            arrays, numbers = self.state()
            write_archive(self.partial, arrays, self._metadata() | numbers)

    def take(self, start: int, maps: Floats, truths: list[Any]) -> None:
        """Add the images from `start` on: maps [n, U, h, w], and their ground truth."""
        for i, one in enumerate(maps):
            self.update(start + i, one, *(truths[i : i + 1]))
        self.done = start + len(maps)

    def update(self, index: int, maps: Floats, truth: Any = None) -> None:
        """Add one image."""
        raise NotImplementedError

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What `restore` needs."""
        raise NotImplementedError

    def restore(self, arrays: dict[str, NDArray[Any]], numbers: dict[str, Any]) -> None:
        """Continue from a state."""
        raise NotImplementedError

    def finish(self) -> dict[str, NDArray[Any]]:
        """The phase's result."""
        raise NotImplementedError

    def _metadata(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "done": self.done}

    def _check(self, path: Path, other: Mapping[str, Any]) -> None:
        keys = sorted({*self.fingerprint, *other})
        different = [key for key in keys if self.fingerprint.get(key) != other.get(key)]
        if different:
            raise InputError(
                f"{path} was made with another {', '.join(different)}; results are not mixed: give "
                "another folder, or restart=True (--restart) to replace them"
            )


class ThresholdPhase(Phase):
    """Each unit's threshold, and its strongest images."""

    name = "thresholds"

    def __init__(
        self,
        units: Units,
        folder: Path,
        total: int,
        fingerprint: Mapping[str, Any],
        *,
        share: float,
        capacity: int,
        top: int,
    ) -> None:
        super().__init__(units, folder, total, fingerprint)
        self._share, self._capacity, self._top = share, capacity, top
        self._parts: tuple[TailQuantile, Strongest] | None = None

    def _start(self, units: int, h: int, w: int) -> tuple[TailQuantile, Strongest]:
        if self._parts is None:
            self._parts = (
                TailQuantile(
                    units, self.total * h * w, self._share, self._capacity, self.units.seed
                ),
                Strongest(units, (h, w), self._top),
            )
        return self._parts

    def update(self, index: int, maps: Floats, truth: Any = None) -> None:
        quantile, strongest = self._start(*maps.shape)
        quantile.update(index, maps.reshape(len(maps), -1))
        strongest.update(index, maps)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        if self._parts is None:
            return {}, {}
        quantile, strongest = self._parts
        arrays, numbers = quantile.state()
        return arrays | strongest.arrays(), dict(numbers)

    def restore(self, arrays: dict[str, NDArray[Any]], numbers: dict[str, Any]) -> None:
        units, _, h, w = arrays["top_maps"].shape
        quantile, strongest = self._start(units, h, w)
        quantile.restore(arrays, numbers)
        strongest.restore(arrays)

    def finish(self) -> dict[str, NDArray[Any]]:
        if self._parts is None:
            return {}
        quantile, strongest = self._parts
        return {"thresholds": quantile.thresholds(), **strongest.arrays()}


class TallyPhase(Phase):
    """Counts of pixels, see `Tally`."""

    name = "tally"

    def __init__(
        self,
        units: Units,
        folder: Path,
        total: int,
        fingerprint: Mapping[str, Any],
        *,
        thresholds: Floats,
        category_of: NDArray[np.int64],
        categories: int,
    ) -> None:
        super().__init__(units, folder, total, fingerprint)
        self._tally = Tally(thresholds, category_of, categories)

    def update(self, index: int, maps: Floats, truth: Any = None) -> None:
        self._tally.update(maps, *truth)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return self._tally.arrays(), {}

    def restore(self, arrays: dict[str, NDArray[Any]], numbers: dict[str, Any]) -> None:
        self._tally.restore(arrays)

    def finish(self) -> dict[str, NDArray[Any]]:
        return self._tally.arrays()
