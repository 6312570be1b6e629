"""The two phases of a dissection. Each keeps its state in a file, so that it can be continued."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import read_archive, write_archive
from ..errors import InputError, ResourceError, UnsupportedModelError
from .checks import Held, check_arrays, check_settings, damaged
from .quantile import TailQuantile
from .tables import MOST_PIXELS
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
        self.shape: tuple[int, ...] = ()
        """Of an image's maps, as far as the files say it."""
        self._seen = self._identities()

    def load(self) -> None:
        """Continue from the files, if there are any.

        Raises:
            InputError: a file was made with another model, data or settings, or is not whole.
        """
        for path in (self.file, self.partial):
            if not path.exists():
                continue
            arrays, metadata = read_archive(path)
            check_settings(path, self.fingerprint, metadata)
            self.done = self._done(path, metadata)
            if path == self.file:
                self.check(path, arrays, self.held())
                self.result = arrays
                self.partial.unlink(missing_ok=True)  # of a run that was killed between the two
            else:
                self.check(path, arrays, self.held_midway())
                self.restore(arrays, metadata)
            break
        self._seen = self._identities()

    def save(self) -> None:
        """Write the state, or the result when all images are done.

        Raises:
            ResourceError: a file cannot be written, or is no longer the one that was read or
                written here: another run, which nothing kept out, writes into the folder.
        """
        if self.result or not self.done:
            return
        if self._identities() != self._seen:
            raise ResourceError(
                f"{self.file} or {self.partial.name} was written by somebody else meanwhile; two "
                "runs must not write into one folder"
            )
        if self.done == self.total:
            self.result = self.finish()
            write_archive(self.file, self.result, self._metadata())
            self.partial.unlink(missing_ok=True)
        else:
            arrays, numbers = self.state()
            write_archive(self.partial, arrays, self._metadata() | numbers)
        self._seen = self._identities()

    def take(self, start: int, maps: Floats, truths: list[Any]) -> None:
        """Add the images from `start` on: maps [n, U, h, w], and their ground truth.

        Raises:
            InputError: the files that the run continues are of maps of another shape.
        """
        wanted = self.shape[: maps.ndim - 1]
        if wanted and maps.shape[1 : 1 + len(wanted)] != wanted:
            raise InputError(
                f"{self.units.name!r} has maps {list(maps.shape[1:])}, and the files of an earlier "
                f"run in {self.file.parent} are of {list(wanted)}; give another folder, or "
                "restart=True (--restart) to replace them"
            )
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

    def held(self) -> dict[str, Held]:
        """The arrays of a result."""
        raise NotImplementedError

    def held_midway(self) -> dict[str, Held]:
        """The arrays of a state."""
        return self.held()

    def check(
        self, path: Path, arrays: Mapping[str, NDArray[Any]], held: Mapping[str, Held]
    ) -> None:
        """Refuse arrays that this phase cannot have written."""
        check_arrays(path, arrays, held)

    def _done(self, path: Path, metadata: Mapping[str, Any]) -> int:
        done = metadata.get("done")
        if isinstance(done, int) and not isinstance(done, bool):
            whole = done == self.total
            batches = 0 < done < self.total and done % self.fingerprint["batch_size"] == 0
            if whole if path == self.file else batches:
                return done
        raise damaged(path, f"it says that {done!s:.40} of {self.total} images are done")

    def _metadata(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint, "done": self.done}

    def _identities(self) -> list[tuple[int, int, int] | None]:
        return [_identity(path) for path in (self.file, self.partial)]


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

    def held(self) -> dict[str, Held]:
        top = {
            "top_images": Held("int64", ("units", self._top), -1, self.done - 1),
            "top_scores": Held("float32", ("units", self._top), finite=False),  # -inf: no image
            "top_maps": Held("float32", ("units", self._top, "height", "width")),
        }
        return {"thresholds": Held("float32", ("units",)), **top}

    def held_midway(self) -> dict[str, Held]:
        held = self.held()
        del held["thresholds"]
        return {"values": Held("float32", ("units", "values")), **held}

    def check(
        self, path: Path, arrays: Mapping[str, NDArray[Any]], held: Mapping[str, Held]
    ) -> None:
        check_arrays(path, arrays, held)
        there = arrays["top_images"] >= 0
        if (there != (np.arange(self._top) < self.done)).any():
            raise damaged(path, f"top_images are not those of {self.done} images")
        maps = arrays["top_maps"]
        peaks = maps.max(axis=(2, 3)) if maps.size else np.nan
        if (arrays["top_scores"] != np.where(there, peaks, -np.inf)).any():
            raise damaged(path, "top_scores are not the largest values of top_maps")

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
        maps = arrays["top_maps"].shape
        self.shape = units, h, w = maps[0], *maps[2:]
        quantile, strongest = self._start(units, h, w)
        seen = numbers.get("seen")
        if not quantile.fits(arrays["values"], seen, self.done * h * w):
            raise damaged(
                self.partial, f"it has {arrays['values'].shape[1]} of {seen!r:.40} values"
            )
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
        self.shape = thresholds.shape

    def held(self) -> dict[str, Held]:
        now, most = self._tally.arrays(), self.done * MOST_PIXELS
        return {name: Held("int64", array.shape, 0, most) for name, array in now.items()}

    def check(
        self, path: Path, arrays: Mapping[str, NDArray[Any]], held: Mapping[str, Held]
    ) -> None:
        check_arrays(path, arrays, held)
        most = np.minimum(arrays["truth"], arrays["activation"][:, self._tally.category_of])
        if (arrays["both"] > most).any():
            raise damaged(path, "a unit and a concept have more pixels in common than one of them")

    def update(self, index: int, maps: Floats, truth: Any = None) -> None:
        self._tally.update(maps, *truth)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return self._tally.arrays(), {}

    def restore(self, arrays: dict[str, NDArray[Any]], numbers: dict[str, Any]) -> None:
        self._tally.restore(arrays)

    def finish(self) -> dict[str, NDArray[Any]]:
        return self._tally.arrays()


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What is another after every write, because a file is replaced and not written over."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
