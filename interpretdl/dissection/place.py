"""The files of a dissection in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data_processor.files import check_writable, read_archive
from ..record import digest
from .checks import check_settings
from .lock import Hold
from .phases import TallyPhase, ThresholdPhase, Units

__all__ = ["Place"]

_ENDINGS = tuple(
    f"-{phase.name}{state}.npz"
    for phase in (TallyPhase, ThresholdPhase)
    for state in (".partial", "")
)


class Place:
    """Which files a run has in its folder, and what has to be right before it begins.

    Args:
        folder: where they are.
        layers: the layers of the run, rotated or not.
        settings: what the results depend on.
    """

    def __init__(self, folder: Path, layers: Sequence[str], settings: Mapping[str, Any]) -> None:
        self._folder, self._settings = folder, settings
        self.report = folder / "report.html"
        self._views = [Units(name, turned, 0) for name in layers for turned in (False, True)]

    def table(self, units: Units) -> Path:
        """The CSV file of a layer, or of its rotation."""
        return self._folder / f"{units.file_name}-result.csv"

    def prepare(self, held: Hold, restart: bool) -> None:
        """Refuse the results of others, and remove those that a restart replaces.

        All of them go before anything is done, and what they are replaced by is noted meanwhile. So
        a restart that is killed is continued by the same call with `restart` and without.

        Raises:
            InputError: another layer's results were made with other settings.
            ResourceError: a file cannot be written.
        """
        mine = [path for units in self._views for path in self._archives(units)]
        for path in sorted(self._folder.iterdir()):
            if path.name.endswith(_ENDINGS) and path not in mine:
                check_settings(path, self._settings, read_archive(path)[1])
        replacing = digest(sorted(self._settings.items()), [path.name for path in mine])
        if restart or held.left.get("replacing") == replacing:
            held.note(replacing=replacing)
            for path in (self.report, *map(self.table, self._views), *mine):
                path.unlink(missing_ok=True)
        held.note()
        for path in (self.report, *map(self.table, self._views), *mine):
            check_writable(path, ())  # and what a killed process left of it is removed

    def _archives(self, units: Units) -> list[Path]:
        return [self._folder / f"{units.file_name}{ending}" for ending in _ENDINGS]
