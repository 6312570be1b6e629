"""Groups among the maps of one class: spectral relevance analysis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data_processor.heatmaps import heatmap_of
from ..errors import InputError
from ..preprocessing import whole_number

__all__ = ["Clusters", "clusters_of"]

FEWEST = 8  # maps, below which groups among them mean nothing
_NEIGHBOURS = 10
# Maps that lie evenly along a line have eigenvalues as 0, 1, 4, 9, …; in a plane they are closer.
_GAP = 4.0
_ZERO = 1e-6


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups among maps.

    Attributes:
        labels: int64 [n], the cluster of each map; 0 is the largest. -1 where a map is zero
            everywhere or not finite, and has no place in any.
        means: float32 [k, h, w], the mean of each cluster's maps, each map divided by the sum of
            its sizes.
        eigenvalues: float64 [m], the smallest of the graph's normalised Laplacian, ascending. As
            many as there are clusters are near 0; after them comes a gap.
        pictures: int64 [n], the position in the run of the picture that each map is of.
    """

    labels: NDArray[np.int64]
    means: NDArray[np.float32]
    eigenvalues: NDArray[np.float64]
    pictures: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many clusters there are; 1 says that the maps do not fall into groups."""
        return len(self.means)

    @property
    def sizes(self) -> list[int]:
        """How many maps each cluster has."""
        return [int((self.labels == k).sum()) for k in range(self.count)]

    def members(self, cluster: int) -> NDArray[np.int64]:
        """Positions in the run of the pictures of one cluster."""
        return np.asarray(self.pictures[self.labels == cluster])

    def __repr__(self) -> str:
        left = int((self.labels < 0).sum())
        return f"Clusters({' + '.join(map(str, self.sizes))} maps, {left} left out)"


def clusters_of(
    maps: Any,
    *,
    clusters: int | None = None,
    neighbours: int | None = None,
    side: int = 14,
    most: int = 8,
    seed: int = 0,
    pictures: Any = None,
) -> Clusters:
    """Find groups of pictures that are decided on by looking at the same place.

    Spectral relevance analysis (SpRAy). Maps are made small and brought to length 1, each is joined
    with its nearest neighbours, and the graph that results is cut where few edges are. The number
    of clusters is where the eigenvalues λ₁ ≤ λ₂ ≤ … of its normalised Laplacian have their largest
    gap, by the ratio λₖ₊₁ / λₖ. A ratio below 4, which maps without groups have as well, is no gap:
    then there is one cluster. A group that looks at a corner, a border or a watermark is a hint at
    a spurious feature; whether it is one, only a person can say. Of fewer than about 32 maps,
    chance makes groups now and then.

    Maps are compared place by place. A feature whose place differs from picture to picture is not
    found. The cost grows with the square of the number of maps: 1,000 take about a second.

    Args:
        maps: [n, h, w], of one class and one method; signs are kept.
        clusters: their number instead of the gap's.
        neighbours: of each map in the graph. None: 10, and fewer for fewer than 40 maps.
        side: pixels to which maps are made smaller.
        most: the largest number of clusters that the gap may give.
        seed: of k-means, which has the last word.
        pictures: [n], positions in a run; None: 0 to n - 1.

    Returns:
        Clusters.

    Raises:
        InputError: not [n, h, w], fewer than 8 usable maps, or numbers that do not fit them.

    Paper: Lapuschkin et al.: Unmasking Clever Hans Predictors and Assessing What Machines Really
    Learn, Nature Communications 2019.
    """
    array = _array(maps, np.float32, "maps must be an array [n, h, w] of numbers")
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise InputError(f"maps must be [n, h, w] with no empty axis; got {list(array.shape)}")
    each = f"pictures must be one whole number for each of {len(array)} maps"
    where = np.arange(len(array)) if pictures is None else _array(pictures, np.int64, each)
    if where.shape != (len(array),):
        raise InputError(each)
    side, most = whole_number(side, "side"), whole_number(most, "most")
    seed = whole_number(seed, "seed", 0) % 2**32  # as many as scikit-learn takes
    wanted = None if clusters is None else whole_number(clusters, "clusters")
    totals = np.abs(array).sum(axis=(1, 2), dtype=np.float64)
    usable = np.isfinite(totals) & (totals > 0)
    n = int(usable.sum())
    if n < FEWEST:
        raise InputError(
            f"groups need at least {FEWEST} maps that are finite and not zero everywhere; got {n}"
        )
    normal = (array[usable] / totals[usable, None, None]).astype(np.float32)
    points = _points(normal, side)
    if neighbours is None:
        near = max(3, min(_NEIGHBOURS, n // 4))
    else:
        near = min(whole_number(neighbours, "neighbours"), n - 1)
    if wanted is not None and wanted > n:
        raise InputError(f"{n} maps cannot be in {wanted} clusters; give clusters={n} or less")
    values, vectors = _spectrum(points, near, min(max(most, wanted or 0) + 1, n))
    count = wanted or _gap(values)
    found = _assign(vectors[:, :count], seed)
    labels = np.full(len(array), -1, np.int64)
    labels[usable] = found
    means = np.stack([normal[found == k].mean(axis=0) for k in range(found.max() + 1)])
    return Clusters(labels, means.astype(np.float32), values, where)


def _array(values: Any, kind: type[np.generic], message: str) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):  # infinite then, and left out
            return np.asarray(values).astype(kind, casting="same_kind")
    except (TypeError, ValueError):  # texts, or rows of several lengths
        raise InputError(message) from None


def _points(maps: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """Small maps of length 1 as rows."""
    size = (min(side, maps.shape[1]), min(side, maps.shape[2]))
    # times the number of values, so that no small number is lost on the way
    rows = heatmap_of(maps * maps[0].size, size, signed=True).reshape(len(maps), -1)
    length = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1))


def _spectrum(
    points: NDArray[np.float64], neighbours: int, wanted: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest eigenvalues of the normalised Laplacian, and their vectors as columns."""
    from scipy.linalg import eigh
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(points, neighbours).toarray()
    affinity = (graph + graph.T) / 2
    scale = 1 / np.sqrt(affinity.sum(axis=1))
    laplacian = np.eye(len(points)) - scale[:, None] * affinity * scale
    values, vectors = eigh(laplacian, subset_by_index=[0, wanted - 1])
    return np.asarray(np.clip(values, 0, None)), np.asarray(vectors)


def _gap(values: NDArray[np.float64]) -> int:
    """The number of clusters: of eigenvalues before the largest gap."""
    ratios = (values[2:] + _ZERO) / (values[1:-1] + _ZERO)
    return int(ratios.argmax()) + 2 if ratios.size and ratios.max() >= _GAP else 1


def _assign(vectors: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """K-means of the rows, brought to length 1; the largest cluster is 0."""
    from sklearn.cluster import KMeans

    count = vectors.shape[1]
    if count == 1:
        return np.zeros(len(vectors), np.int64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = vectors / np.where(length > 0, length, 1)
    found = KMeans(count, n_init=10, random_state=seed).fit_predict(rows)
    names, sizes = np.unique(found, return_counts=True)
    order = names[np.argsort(-sizes, kind="stable")]
    place = np.empty(int(names.max()) + 1, np.int64)
    place[order] = np.arange(len(order))
    return np.asarray(place[found])
