"""Weights of kinds of regions for each class, from LIME's results on many pictures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data_processor.files import atomic_path
from ..data_processor.readers import load_npy_dict_file
from ..errors import InputError, ResourceError, quoted, warn
from ..probe import Probe
from ..subject import Subject
from .sampling import counts

__all__ = [
    "Aggregation",
    "Clusters",
    "GlobalWeights",
    "LayerClusters",
    "aggregated",
    "checked_explanation",
    "clustered",
    "gathered",
    "region_features",
    "save_dictionary",
]

Array = NDArray[Any]
Picture = NDArray[np.uint8]
Regions = NDArray[np.int64]
Aggregation = Literal["normlime", "avg", "square"]
_CLUSTERS = "clusters"
"""Beside the classes of a file: what the clusters are."""


@dataclass(frozen=True)
class LayerClusters:
    """Clusters of a layer's features: those of which a centre is the nearest.

    Attributes:
        layer: name of a layer [N, C, h, w].
        centres: float32 [k, C].
    """

    layer: str
    centres: NDArray[np.float32]

    def of(self, features: Array) -> NDArray[np.int64]:
        """The nearest centre of each row, [M, C] to int64 [M]."""
        if features.shape[1] != self.centres.shape[1]:
            raise InputError(
                f"the global weights are of {self.centres.shape[1]} channels, and layer "
                f"{self.layer!r} of this model has {features.shape[1]}: they were computed with "
                "another model"
            )
        squares = (self.centres**2).sum(axis=1) - 2 * features @ self.centres.T
        return np.asarray(squares.argmin(axis=1), np.int64)


Clusters = LayerClusters | Callable[[Picture, Regions], Any]


class GlobalWeights(dict[int, dict[int, float]]):
    """{class: {cluster: weight}}, and what the clusters are.

    Attributes:
        clusters: LayerClusters, or a function from a picture uint8 [H, W, 3] and its regions int
            [H, W] to a cluster for each region; None where that is not known.
    """

    def __init__(
        self, weights: Mapping[int, dict[int, float]], clusters: Clusters | None = None
    ) -> None:
        super().__init__(weights)
        self.clusters = clusters

    @classmethod
    def of(
        cls,
        subject: Subject,
        explanations: Sequence[Mapping[str, Any]],
        clusters: int | Clusters,
        how: Aggregation = "normlime",
    ) -> GlobalWeights:
        """Global weights from LIME's results, see `clustered` and `aggregated`."""
        kinds, each = clustered(subject, explanations, clusters)
        return cls(aggregated(explanations, each, how), kinds)

    @classmethod
    def read(cls, given: Any, clusters: Clusters | None = None) -> GlobalWeights:
        """Global weights from what a user has: a mapping, or a file of `save` or InterpretDL's.

        Raises:
            InputError: it is neither. ResourceError: no such file.
        """
        known = getattr(given, "clusters", None)
        if isinstance(given, str | os.PathLike):
            if not os.path.exists(given):
                raise ResourceError(f"there is no file {given}; give that of global weights")
            given = load_npy_dict_file(given)
        if not isinstance(given, Mapping):
            raise InputError(
                "global weights are {class: {cluster: weight}}, or the path of a file of them; got "
                f"{type(given).__name__}"
            )
        content = dict(given)
        try:
            saved = content.pop(_CLUSTERS, None)
            if saved is not None:
                known = LayerClusters(str(saved["layer"]), _centres_of(saved["centres"]))
            weights = {
                int(label): {int(cluster): float(weight) for cluster, weight in each.items()}
                for label, each in content.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"global weights are {{class: {{cluster: weight}}}}; got {quoted(content)}"
            ) from error
        return cls(weights, clusters or known)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as InterpretDL does, a dictionary by `numpy.save`.

        What the clusters are stands beside the classes, under "clusters", unless it is a function.
        """
        content: dict[Any, Any] = {label: dict(each) for label, each in self.items()}
        if isinstance(self.clusters, LayerClusters):
            content[_CLUSTERS] = vars(self.clusters)
        save_dictionary(path, content)

    def clusters_of(
        self, probe: Probe, x: Array, pictures: Picture, regions: Sequence[Regions]
    ) -> list[NDArray[np.int64]]:
        """The cluster of each region of each image.

        Args:
            x: the inputs. pictures: the same as uint8 [N, H, W, 3]. regions: numbered from 0.

        Raises:
            InputError: it is not known what the clusters are, or they do not fit.
        """
        if self.clusters is None:
            raise InputError(
                "these global weights do not say what their clusters are, as InterpretDL's do not: "
                "give set_global_weights(..., clusters=) a function, or compute the weights with "
                "NormLIMECVInterpreter"
            )
        if isinstance(self.clusters, LayerClusters):
            found = region_features(probe, x, self.clusters.layer, regions)
            return [self.clusters.of(features) for features in found]
        each = zip(pictures, regions, strict=True)
        return [_checked(self.clusters(*one), one[1]) for one in each]

    def prior(self, label: int, clusters: NDArray[np.int64]) -> NDArray[np.float64]:
        """The weights of a class for regions of these clusters; 0 where there are none."""
        if label not in self:
            warn(f"there are no global weights of class {label}, so its prior is 0")
        known = self.get(label, {})
        return np.array([known.get(cluster, 0.0) for cluster in clusters.tolist()])


def region_features(
    probe: Probe, x: Array, layer: str, regions: Sequence[Regions]
) -> list[NDArray[np.float32]]:
    """Mean of a layer's map over each region of each image, scaled to length 1: [M, C] each.

    Each pixel has the features of the cell that it lies in.
    """
    maps = probe.activations(x, layer)[layer]
    if maps.ndim != 4:
        raise InputError(f"layer {layer!r} gives {list(maps.shape)}, no map [N, C, h, w]")
    found = []
    for image, cut in zip(maps, regions, strict=True):
        channels, h, w = image.shape
        height, width = cut.shape
        cells = (np.arange(height) * h // height)[:, None] * w + np.arange(width) * w // width
        count = int(cut.max()) + 1
        pixels = np.bincount((cut * (h * w) + cells).ravel(), minlength=count * h * w)
        sizes = np.bincount(cut.ravel()).clip(1)
        shares = pixels.reshape(count, h * w) / sizes[:, None]
        means = shares @ image.reshape(channels, -1).T
        length = np.linalg.norm(means, axis=1, keepdims=True)
        found.append(np.asarray(means / np.where(length > 0, length, 1), np.float32))
    return found


def clustered(
    subject: Subject, explanations: Sequence[Mapping[str, Any]], clusters: int | Clusters
) -> tuple[Clusters, list[NDArray[np.int64]]]:
    """Kinds of regions, and to which each region of each explanation belongs.

    Args:
        subject: the last spatial layer of its model gives the features.
        explanations: LIME's results, with "input" and "segmentation".
        clusters: how many, at most; fewer where there are not four regions for each. Or clusters
            that are there already.
    """
    probe = subject.probe
    pictures = [np.asarray(each["input"]) for each in explanations]
    regions = [np.asarray(each["segmentation"], np.int64) for each in explanations]
    inputs = [subject.read(picture).inputs for picture in pictures]
    if not isinstance(clusters, int | np.integer):
        weights = GlobalWeights({}, clusters)
        each = zip(inputs, pictures, regions, strict=True)
        return clusters, [weights.clusters_of(probe, x, p[None], [r])[0] for x, p, r in each]
    counts(clusters=clusters)
    layer = probe.last_spatial_layer(inputs[0])
    features = [
        region_features(probe, x, layer, [r])[0] for x, r in zip(inputs, regions, strict=True)
    ]
    found = LayerClusters(layer, _centres(np.concatenate(features), clusters))
    return found, [found.of(each) for each in features]


def _centres(features: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    from sklearn.cluster import KMeans

    k = min(most, max(1, len(features) // 4), len(np.unique(features, axis=0)))
    fitted = KMeans(k, n_init=4, random_state=0).fit(features)
    return np.asarray(fitted.cluster_centers_, np.float32)


def save_dictionary(path: str | os.PathLike[str], content: dict[Any, Any]) -> None:
    """Write a dictionary as `numpy.save` does, beside its place first."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.array(content, object), allow_pickle=True)


def aggregated(
    explanations: Sequence[Mapping[str, Any]],
    clusters: Sequence[NDArray[np.int64]],
    how: Aggregation = "normlime",
) -> dict[int, dict[int, float]]:
    """Mean weight of each cluster of regions for each class, of what `gathered` gives."""
    return {
        label: {cluster: sum(sizes) / len(sizes) for cluster, sizes in sorted(each.items())}
        for label, each in sorted(gathered(explanations, clusters, how).items())
    }


def gathered(
    explanations: Sequence[Mapping[str, Any]],
    clusters: Sequence[NDArray[np.int64]],
    how: Aggregation = "normlime",
    *,
    positive: bool = False,
) -> dict[int, dict[int, list[float]]]:
    """What regions of each cluster weigh for each class.

    Args:
        explanations: LIME's results, with "lime_weights" {class: [(region, weight)]}.
        clusters: of the regions of each.
        how: "normlime", w² / Σ|w| (Ahern et al., 2019); "avg", |w| (van der Linden et al., 2019);
            "square", w².
        positive: leave out regions of which w is not above 0; Σ|w| is over all.
    """
    found: dict[int, dict[int, list[float]]] = {}
    take: Any = {
        "normlime": lambda weight, whole: weight**2 / whole,
        "avg": lambda weight, whole: abs(weight),
        "square": lambda weight, whole: weight**2,
    }[how]
    for explanation, of in zip(explanations, clusters, strict=True):
        for label, pairs in explanation["lime_weights"].items():
            whole = sum(abs(weight) for _, weight in pairs) or 1.0
            one = found.setdefault(label, {})
            for region, weight in pairs:
                if weight > 0 or not positive:
                    one.setdefault(int(of[region]), []).append(take(weight, whole))
    return found


def checked_explanation(given: Any, where: str) -> dict[str, Any]:
    """LIME's results as a user has them, looked at; in arrays of one object, as in files, too.

    Raises:
        InputError: they are none.
    """
    given = given.item() if isinstance(given, np.ndarray) and given.shape == () else given
    try:
        picture, regions = np.asarray(given["input"]), np.asarray(given["segmentation"])
        weights = {
            int(label): [(int(region), float(weight)) for region, weight in pairs]
            for label, pairs in given["lime_weights"].items()
        }
        highest = max(region for pairs in weights.values() for region, _ in pairs)
        fits = picture.shape == (*regions.shape, 3) and regions.dtype.kind in "iu"
        if not fits or regions.min() < 0 or highest > regions.max():
            raise ValueError("the regions do not fit to the picture or to the weights")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"{where} is no result of LIME, which has 'input' [H, W, 3], 'segmentation' [H, W] and "
            f"'lime_weights' {{class: [(region, weight)]}}: {error}"
        ) from error
    return {**given, "lime_weights": weights}


def _centres_of(given: Any) -> NDArray[np.float32]:
    centres = np.asarray(given, np.float32)
    if centres.ndim != 2:
        raise ValueError("centres are [k, C]")
    return centres


def _checked(given: Any, regions: Regions) -> NDArray[np.int64]:
    array, count = np.asarray(given), int(regions.max()) + 1
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise InputError(
            f"clusters= must give a whole number for each of {count} regions; got {array.dtype} "
            f"{list(array.shape)}"
        )
    return array.astype(np.int64)
