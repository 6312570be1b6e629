"""Parts of a picture taken out: regions, what stands in their place, and the scores that follow."""

from .fills import FROM_AROUND, Fill, FillName, Imputer
from .game import Estimate, Game
from .regions import RegionName, Regions, grid_regions, region_sums, regions_of
from .scores import perturbed_scores

__all__ = [
    "FROM_AROUND",
    "Estimate",
    "Fill",
    "FillName",
    "Game",
    "Imputer",
    "RegionName",
    "Regions",
    "grid_regions",
    "perturbed_scores",
    "region_sums",
    "regions_of",
]
