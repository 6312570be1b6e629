"""Network Dissection: what single units of a network detect, and how important they are."""

from .ablation import Ablation, ablate_units
from .broden import Broden, check_broden
from .concepts import (
    ConceptShare,
    ConceptShares,
    explain_in_concepts,
    gradient_times_activation,
    lrp,
)
from .cutouts import tuxpaint_objects
from .dissect import Dissection, dissect
from .mini_broden import mini_broden
from .quantile import TailQuantile
from .report import write_report
from .result import LayerResult, UnitConcept
from .tables import Label, Record

__all__ = [
    "Ablation",
    "Broden",
    "ConceptShare",
    "ConceptShares",
    "Dissection",
    "Label",
    "LayerResult",
    "Record",
    "TailQuantile",
    "UnitConcept",
    "ablate_units",
    "check_broden",
    "dissect",
    "explain_in_concepts",
    "gradient_times_activation",
    "lrp",
    "mini_broden",
    "tuxpaint_objects",
    "write_report",
]
