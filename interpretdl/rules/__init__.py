"""What a layer does on the way back: rules, and composites that say which rule works where."""

from .activation import Clip, Deconvnet, Gate, Guided, PassThrough
from .attention import BatchNorm, Divided, LayerNorm, Parts, Shared, Softmax, Summand, SwiGLU
from .base import JointRule, Rule, Site, stabilize
from .composites import COMPOSITES, attention_composite, composite_of, lrp_composite
from .differences import (
    ProductDifference,
    QuotientDifference,
    Rescale,
    RescaleLayerNorm,
    RescaleMaxPool,
    RescaleSoftmax,
)
from .linear import AlphaBeta, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from .redirect import Way, redirect
from .run import Composite

__all__ = [
    "COMPOSITES",
    "AlphaBeta",
    "BatchNorm",
    "Clip",
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
    "ProductDifference",
    "QuotientDifference",
    "Rescale",
    "RescaleLayerNorm",
    "RescaleMaxPool",
    "RescaleSoftmax",
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
