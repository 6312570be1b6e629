"""A detector as a network: from pictures to boxes and scores, before they are sorted out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn

from ..errors import InputError, UnsupportedModelError, did_you_mean
from ..targets.spatial import Activation

__all__ = ["KINDS", "Boxes", "Final", "Kind", "Read", "kind_of"]

Tensor: TypeAlias = "paddle.Tensor"
Found: TypeAlias = tuple[Tensor, Tensor]
Read: TypeAlias = Callable[[Any], Found]
"""From what a model returns to boxes [N, M, 4] and scores [N, M, K]."""

_LEVELS = 8  # more sizes of a picture than any detector has


@dataclass(frozen=True)
class Kind:
    """How the detectors of a family are read.

    Attributes:
        name: of the family.
        parts: attributes that its models have; "head.layer" for a part of a part.
        read: from `Boxes` and the model's inputs to boxes and logits.
        fixed: whether a box's number says where in the picture it is.
    """

    name: str
    parts: tuple[str, ...]
    read: Callable[[Boxes, dict[str, Tensor]], Found]
    fixed: bool

    def activation(self, model: Any) -> Activation:
        """What makes probabilities of its logits."""
        if self.name == "faster_rcnn":
            return "softmax"
        focal = getattr(getattr(model, "post_process", None), "use_focal_loss", True)
        return "softmax" if self.name == "detr" and not focal else "sigmoid"


class Boxes(nn.Layer):
    """From pictures [N, C, H, W] to boxes and logits of classes before they are sorted out.

    Gives [N, M, 4 + K]: x0, y0, x1, y1 in pixels of the input, and a score for each class. Boxes
    have no gradient: what is explained is the class.

    Args:
        model: the detector.
        kind: how it is read, or a function from what it returns to boxes and scores.

    Attributes:
        backbone_outputs, neck_outputs: layers that do nothing, through which the features go that
            backbone and neck give: "backbone_outputs.0" is a layer's name.
    """

    def __init__(self, model: Any, kind: Kind | Read) -> None:
        super().__init__()
        self.model, self.kind = model, kind
        self.backbone_outputs = nn.LayerList([nn.Identity() for _ in range(_LEVELS)])
        self.neck_outputs = nn.LayerList([nn.Identity() for _ in range(_LEVELS)])

    def forward(self, x: Tensor) -> Tensor:
        given = inputs_of(self.model, x)
        if isinstance(self.kind, Kind):
            boxes, scores = self.kind.read(self, given)
        else:
            boxes, scores = _checked(self.kind(self.model(given)), len(x))
        return paddle.concat([boxes.detach().astype(scores.dtype), scores], axis=-1)

    def features(self, given: Any) -> Any:
        """What the head is given."""
        features = _through(self.backbone_outputs, self.model.backbone(given))
        neck = getattr(self.model, "neck", None)
        return features if neck is None else _through(self.neck_outputs, neck(features))


class Final(nn.Layer):
    """What a detector of a known family finds in one picture, [R, 6]: class, score and corners."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(inputs_of(self.model, x))["bbox"].astype("float32")


def inputs_of(model: Any, x: Tensor) -> Any:
    """What the model is called with: PaddleDetection's take a dict, others the pictures."""
    suite = "BaseArch" in (base.__name__ for base in type(model).__mro__)
    if not suite and not any(kind_fits(model, kind) for kind in KINDS.values()):
        return x
    size = paddle.to_tensor([x.shape[2:]] * len(x), dtype=x.dtype, place=x.place)
    return {"image": x, "im_shape": size, "scale_factor": paddle.ones_like(size)}


def kind_of(model: Any, kind: str | Read | None) -> Kind | Read:
    """How a model is read.

    Raises:
        InputError: no family of that name, or the model lacks its parts.
        UnsupportedModelError: none is named, and the model is of none that is known.
    """
    if callable(kind):
        return kind
    if kind is not None:
        known = KINDS.get(str(kind))
        if known is None:
            hint = did_you_mean(str(kind), KINDS) or f"; there are {', '.join(KINDS)}"
            raise InputError(
                f"no kind of detector {kind!r}{hint}, or a function from what the model returns to "
                "(boxes [N, M, 4], scores [N, M, K])"
            )
        if not kind_fits(model, known):
            parts = ", ".join(known.parts)
            raise InputError(
                f"{type(model).__name__} is no detector of kind {kind!r}, which has the parts "
                f"{parts}; leave kind=None, or give a function"
            )
        return known
    for known in KINDS.values():
        if kind_fits(model, known):
            return known
    raise UnsupportedModelError(
        f"{type(model).__name__} is no detector that is known ({', '.join(KINDS)}). Give kind= a "
        "function from what the model returns to (boxes [N, M, 4] in pixels of its input, scores "
        "[N, M, K]), before non-maximum suppression"
    )


def kind_fits(model: Any, kind: Kind) -> bool:
    """Whether the model has the parts of that family's models."""
    return all(_part(model, path) is not None for path in kind.parts)


def _part(model: Any, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, None)
    return model


def _checked(found: Any, n: int) -> Found:
    """Boxes and scores that a user's function gives.

    Raises:
        InputError: something else.
    """
    if isinstance(found, tuple | list) and len(found) == 2:
        boxes, scores = found
        if isinstance(boxes, paddle.Tensor) and isinstance(scores, paddle.Tensor):
            if boxes.ndim == 2:
                boxes = boxes[None]
            if scores.ndim == 2:
                scores = scores[None]
            shapes = list(boxes.shape), list(scores.shape)
            if shapes[0] == [n, scores.shape[1], 4] and scores.ndim == 3:
                return boxes, scores
            got = f"{shapes[0]} and {shapes[1]}"
        else:
            got = f"{type(boxes).__name__} and {type(scores).__name__}"
    else:
        got = type(found).__name__
    raise InputError(
        f"kind= must give two Tensors for {n} pictures, boxes [{n}, M, 4] and scores [{n}, M, K]; "
        f"got {got}"
    )


def _through(layers: Any, features: Any) -> Any:
    if isinstance(features, tuple | list):
        return [layer(each) for layer, each in zip(layers, features, strict=False)]
    return layers[0](features)


@contextlib.contextmanager
def _outputs_of(layers: Any) -> Iterator[list[Tensor]]:
    """What layers give while the context is open, in the order in which they run."""
    found: list[Tensor] = []

    def keep(layer: Any, given: Any, output: Any) -> None:
        found.append(output)

    hooks = [layer.register_forward_post_hook(keep) for layer in layers]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


# -- the families ----------------------------------------------------------------------------------


def _ppyoloe(boxes: Boxes, given: dict[str, Tensor]) -> Found:
    head, features = boxes.model.yolo_head, boxes.features(given)
    with _outputs_of(head.pred_cls) as logits:
        _, distances, points, strides = head(features)
    left, right = points - distances[..., :2], points + distances[..., 2:]
    return paddle.concat([left, right], axis=-1) * strides, _places(logits)


def _picodet(boxes: Boxes, given: dict[str, Tensor]) -> Found:
    head, features = boxes.model.head, boxes.features(given)
    aligned = bool(getattr(head, "use_align_head", False))
    align = head.cls_align if aligned else []
    with _outputs_of(head.head_cls_list) as logits, _outputs_of(align) as others:
        _, found = head(features)
    if getattr(head, "dgqp_module", None) is not None:
        raise UnsupportedModelError(
            "PicoDet with a quality branch (dgqp_module) has no class branch of its own; give "
            "kind= a function from what the model returns to boxes and scores"
        )
    logits = [each[:, : head.cls_out_channels] for each in logits]
    if aligned:
        # p = √(σ(a) σ(b)), of two branches; its logit, without what is rounded to 0 or 1.
        pairs = zip(logits, others, strict=True)
        logs = [-(F.softplus(-a) + F.softplus(-b)) / 2 for a, b in pairs]
        logits = [each - paddle.log(-paddle.expm1(each)) for each in logs]
    return found, _places(logits)


def _detr(boxes: Boxes, given: dict[str, Tensor]) -> Found:
    model, features = boxes.model, boxes.features(given)
    middle, logits, *_ = model.detr_head(model.transformer(features, None, given), features)
    height, width = given["image"].shape[2:]
    low, high = middle[..., :2] - middle[..., 2:] / 2, middle[..., :2] + middle[..., 2:] / 2
    sides = paddle.to_tensor([width, height] * 2, dtype=middle.dtype, place=middle.place)
    return paddle.concat([low, high], axis=-1) * sides, logits


def _faster_rcnn(boxes: Boxes, given: dict[str, Tensor]) -> Found:
    model, features = boxes.model, boxes.features(given)
    regions, counts, _ = model.rpn_head(features, given)
    with _outputs_of([model.bbox_head.bbox_score]) as scores:
        predicted, _ = model.bbox_head(features, regions, counts, None)
    with paddle.no_grad():
        rois = (regions, counts), given["im_shape"], given["scale_factor"]
        (found, _), p = model.bbox_post_process.decode(predicted, *rois)
        best = p.argmax(axis=1, keepdim=True)[..., None].expand([len(p), 1, 4])
        found = paddle.take_along_axis(found, best, axis=1)[:, 0]
    # Pictures have different numbers of regions: the rest are empty boxes of the background.
    most = int(model.rpn_head.test_proposal.post_nms_top_n)
    rows, start = [], 0
    empty = paddle.full([1, scores[0].shape[1]], -1e4, scores[0].dtype)
    empty[:, -1] = 0
    for count in counts.tolist():
        part = slice(start, start + count)
        missing = most - count
        rows.append(
            (
                paddle.concat([found[part], paddle.zeros([missing, 4], found.dtype)]),
                paddle.concat([scores[0][part], empty.expand([missing, empty.shape[1]])]),
            )
        )
        start += count
    return paddle.stack([row[0] for row in rows]), paddle.stack([row[1] for row in rows])


def _places(maps: Sequence[Tensor]) -> Tensor:
    """Maps of several sizes [N, K, h, w] as one list of places, [N, M, K]."""
    return paddle.concat([each.flatten(2) for each in maps], axis=2).transpose([0, 2, 1])


_FAMILIES = (
    Kind("ppyoloe", ("backbone", "yolo_head.pred_cls"), _ppyoloe, fixed=True),
    Kind("picodet", ("backbone", "head.head_cls_list"), _picodet, fixed=True),
    Kind("detr", ("backbone", "transformer", "detr_head"), _detr, fixed=False),
    Kind("faster_rcnn", ("backbone", "rpn_head", "bbox_head.bbox_score"), _faster_rcnn, False),
)
KINDS = {kind.name: kind for kind in _FAMILIES}
