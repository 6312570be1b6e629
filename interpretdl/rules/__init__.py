"""What a layer does on the way back: rules, and composites that say which rule works where."""

from .activation import Deconvnet, Gate, Guided, PassThrough, Rescale, RescaleMaxPool
from .base import Rule, Site, stabilize
from .composites import COMPOSITES, composite_of, lrp_composite
from .linear import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from .redirect import Way, redirect
from .run import Composite

__all__ = [
    "COMPOSITES",
    "AlphaBeta",
    "Composite",
    "Deconvnet",
    "Epsilon",
    "Flat",
    "Gamma",
    "Gate",
    "Guided",
    "PassThrough",
    "Rescale",
    "RescaleMaxPool",
    "Rule",
    "Site",
    "WSquare",
    "Way",
    "ZBox",
    "ZPlus",
    "composite_of",
    "lrp_composite",
    "redirect",
    "stabilize",
]
