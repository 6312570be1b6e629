"""Network Dissection: what single units of a network detect, and what they matter."""

from .broden import Broden, Label, Record, check_broden
from .cutouts import tuxpaint_objects
from .dissect import Dissection, dissect
from .mini_broden import mini_broden
from .quantile import TailQuantile
from .report import write_report
from .result import LayerResult, UnitConcept

__all__ = [
    "Broden",
    "Dissection",
    "Label",
    "LayerResult",
    "Record",
    "TailQuantile",
    "UnitConcept",
    "check_broden",
    "dissect",
    "mini_broden",
    "tuxpaint_objects",
    "write_report",
]
