"""What a layer does on the way back: rules, and composites that say which rule works where."""

from .activation import Deconvnet, Gate, Guided, PassThrough, Rescale, RescaleMaxPool
from .attention import Divided, LayerNorm, Parts, Shared, Softmax, Summand, SwiGLU
from .base import JointRule, Rule, Site, stabilize
from .composites import COMPOSITES, attention_composite, composite_of, lrp_composite
from .linear import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from .redirect import Way, redirect
from .run import Composite

__all__ = [
    "COMPOSITES",
    "AlphaBeta",
    "Composite",
    "Deconvnet",
    "Divided",
    "Epsilon",
    "Flat",
    "Gamma",
    "Gate",
    "Guided",
    "JointRule",
    "LayerNorm",
    "Parts",
    "PassThrough",
    "Rescale",
    "RescaleMaxPool",
    "Rule",
    "Shared",
    "Site",
    "Softmax",
    "Summand",
    "SwiGLU",
    "WSquare",
    "Way",
    "ZBox",
    "ZPlus",
    "attention_composite",
    "composite_of",
    "lrp_composite",
    "redirect",
    "stabilize",
]
