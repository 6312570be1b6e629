"""NormLIME: what kinds of regions speak for a class, from LIME on many pictures."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..data_processor.files import atomic_path, check_writable, encodable
from ..errors import ImageReadError, InputError, InterpretError, warn
from ..pickles.plain import read_dictionaries
from ..progress import progress_bar
from ..record import digest, digest_of_model
from .global_weights import Clusters, GlobalWeights, checked_explanation
from .lime_compat import LIMECVInterpreter, Results, plainly
from .sampling import counts

__all__ = ["MADE", "Kept", "NormLIMECVInterpreter", "free_path"]

MADE = "made"
"""Beside LIME's results in the file of them: with which model and options they were made."""


class NormLIMECVInterpreter(LIMECVInterpreter):
    """NormLIME: mean weight of kinds of regions for each class, from LIME on many pictures.

        weight of cluster c for class y = mean of w² / Σ_j |w_j| over the regions in c of pictures
        whose likeliest class is y

    Regions are clustered by k-means on the mean of the model's last spatial layer over each region.
    See Ahern et al., NormLIME, 2019, https://arxiv.org/abs/1909.04200.

    Attributes:
        all_lime_weights: LIME's results by picture, see `LIMECVInterpreter.lime_results`.
    """

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        image_paths: Sequence[Any] | str | os.PathLike[str],
        num_samples: int = 1000,
        batch_size: int = 50,
        save_path: str | os.PathLike[str] | None = "normlime_weights.npy",
        temp_data_file: str | os.PathLike[str] | None = "all_lime_weights.npz",
        *,
        clusters: int | Clusters = 64,
    ) -> GlobalWeights:
        """Explain each picture by LIME for its likeliest class, and average.

        Args:
            image_paths: the pictures. One that cannot be read, or is of a single region, is left
                out with a warning.
            num_samples, batch_size: see `LIMECVInterpreter.interpret`.
            save_path: where the weights are saved, a .npy file for
                `GLIMECVInterpreter.set_global_weights`; where there is such a file, "-0", "-1" and
                so on is put behind its name. None: they are not saved.
            temp_data_file: a .npz file in which LIME's results are kept meanwhile, also on Ctrl-C.
                What it has of these pictures, this model and these options is not computed again.
                None: there is none.
            clusters: of how many kinds regions are, at most. Or clusters that are there already,
                see `GLIMECVInterpreter.set_global_weights`.

        Returns:
            {class: {cluster: weight}}; `.clusters` says what the clusters are.

        Raises:
            ImageReadError: no picture could be read. InputError: an option that does not fit, or
                a file that holds something else. ResourceError: a place that cannot be written.
        """
        counts(num_samples=num_samples, batch_size=batch_size)
        pictures: list[Any] = (
            [image_paths] if isinstance(image_paths, str | os.PathLike) else list(image_paths)
        )
        if save_path is not None:
            save_path = free_path(os.fspath(save_path))
            check_writable(save_path, (".npy",))
        made = (self.model, num_samples, self.random_seed)
        kept = Kept(temp_data_file, *made, check=checked_explanation)
        self.all_lime_weights: dict[str, Results] = {}
        bar: Any
        try:
            with progress_bar(len(pictures), "norm lime", "image") as bar:
                for i, picture in enumerate(pictures):
                    name = _name(picture, i)
                    results = self._one(picture, name, kept, num_samples, batch_size)
                    if results is not None:
                        self.all_lime_weights[name] = results
                    bar.update()
        finally:
            kept.save()
        if not self.all_lime_weights:
            raise ImageReadError(f"none of {len(pictures)} pictures could be explained")
        every = list(self.all_lime_weights.values())
        self.lime_results = every[-1]
        weights = GlobalWeights.of(self.subject, every, clusters)
        if save_path is not None:
            weights.save(save_path)
            print(f"NormLIME's weights are in {save_path}")
        return weights

    def _one(
        self, picture: Any, name: str, kept: Kept, num_samples: int, batch_size: int
    ) -> Results | None:
        """LIME's results on a picture, from the file or computed; None if there can be none."""
        try:
            batch = self.subject.read(picture)
            seen = batch.images[0] if batch.images is not None else ()
            results = kept.get(
                name, lambda entry: MADE not in entry or np.array_equal(entry["input"], seen)
            )
            if results is None:
                results = self._results(batch, None, 1, num_samples, batch_size, None, plainly)[0][
                    0
                ]
                kept.put(name, results)
        except InterpretError as error:
            if not isinstance(error, ImageReadError | InputError):
                raise
            warn(f"{name} is left out: {error}")
            return None
        return results


class Kept:
    """LIME's results in a file, saved whenever that takes less than a tenth of the time since.

    Args:
        path: of a .npz file; None: nothing is kept.
        model, samples, seed: what they are made with.
        check: looks at one that is read, with words for where it stands.

    Raises:
        InputError, ResourceError: a file that holds something else, or cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        model: Any,
        samples: int,
        seed: int,
        *,
        check: Callable[[Any, str], dict[str, Any]],
    ) -> None:
        self._path = None if path is None else os.fspath(path)
        self._entries: dict[str, dict[str, Any]] = {}
        self._changed, self._took, self._saved = False, 0.0, time.monotonic()
        if self._path is None:
            return
        if not self._path.endswith(".npz"):
            self._path += ".npz"
        check_writable(self._path, (".npz",))
        self._made = digest(digest_of_model(model), samples, seed)
        if os.path.exists(self._path):
            self._entries = {
                name: check(each, f"{name} in {self._path}")
                for name, each in read_dictionaries(self._path).items()
            }

    def get(self, name: str, fits: Callable[[dict[str, Any]], bool]) -> Results | None:
        """The results of that name where they are there, made like this and `fits` says so."""
        entry = self._entries.get(_key(name))
        if entry is None or not fits(entry):
            return None
        if MADE not in entry:
            warn(
                f"{self._path} does not say with which model that of {name[:200]} was made; "
                "it is taken for this one's. Delete the file to have it computed again"
            )
        elif entry[MADE] != self._made:
            return None
        return {key: value for key, value in entry.items() if key != MADE}

    def put(self, name: str, results: Results) -> None:
        if self._path is None:
            return
        self._entries[_key(name)] = {**results, MADE: self._made}
        self._changed = True
        if time.monotonic() - self._saved > 10 * self._took:
            self.save()

    def save(self) -> None:
        if self._path is None or not self._changed:
            return
        start = time.monotonic()
        with (
            atomic_path(self._path) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for name, entry in self._entries.items():
                member = io.BytesIO()
                np.save(member, np.array(entry, object), allow_pickle=True)
                archive.writestr(f"{name}.npy", member.getvalue())
        self._changed, self._saved = False, time.monotonic()
        self._took = self._saved - start


def _name(picture: Any, i: int) -> str:
    """A picture's name in the file: its path as it was given."""
    return os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"input {i}"


def _key(name: str) -> str:
    """A name as an archive can have it."""
    name = encodable(name)
    return name if len(name) <= 1000 and "\0" not in name else digest(name)


def free_path(path: str) -> str:
    """The path, or the first of path-0, path-1 … that is not there."""
    stem, ending = os.path.splitext(path)
    names = (f"{stem}-{i}{ending}" for i in range(10**9))
    return path if not os.path.exists(path) else next(n for n in names if not os.path.exists(n))
