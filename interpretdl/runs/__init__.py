"""Whole data sets: explained into a store that can be taken up again, queried and compared."""

from .clusters import Clusters, clusters_of
from .diff import MethodDiff, RunDiff, diff_runs
from .opened import Run, open_run
from .run import run

__all__ = [
    "Clusters",
    "MethodDiff",
    "Run",
    "RunDiff",
    "clusters_of",
    "diff_runs",
    "open_run",
    "run",
]
