"""Truth: problems whose explanation is known, and how well methods explain them."""

from .agreement import Agreement
from .grading import QUICK, SLOW, run
from .judging import judge
from .measures import MEASURES
from .planted import closed_form
from .suite import Problem
from .suites import SUITES
from .table import Finding, TruthTable

__all__ = [
    "MEASURES",
    "QUICK",
    "SLOW",
    "SUITES",
    "Agreement",
    "Finding",
    "Problem",
    "TruthTable",
    "closed_form",
    "judge",
    "run",
]
