"""Detectors in the four forms that PaddleDetection's have, which find coloured squares.

Each takes a dict of `image` [N, 3, 64, 64], `im_shape` and `scale_factor`, sorts its boxes out in
`forward` and returns `bbox` [R, 6], class, score and corners, with `bbox_num` [N]. The weights are
set by hand: class 0 is a red square of 24 pixels whose corners are multiples of 8, class 1 a green
one. Small random numbers keep what else the networks have from being without effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

SIDE, SQUARE, STRIDE, CLASSES, WIDTH = 64, 24, 8, 2, 4
RED, GREEN = (220, 40, 40), (40, 200, 40)


def scene(*squares: tuple[int, int, Sequence[int]], seed: int = 0) -> Any:
    """A grey noisy picture uint8 [64, 64, 3] with squares (left, top, colour)."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(90, 150, (SIDE, SIDE, 1)) + rng.integers(-8, 8, (SIDE, SIDE, 3))
    for left, top, colour in squares:
        part = rng.integers(-12, 12, (SQUARE, SQUARE, 3))
        picture[top : top + SQUARE, left : left + SQUARE] = np.array(colour) + part
    return picture.astype(np.uint8)


class Backbone(nn.Layer):
    """How red and how green each place is, and how bright: at strides of 4 and 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2D(3, WIDTH, 1), nn.ReLU()
        self.down = nn.LayerList([nn.Conv2D(WIDTH, WIDTH, 2, 2) for _ in range(3)])
        scale = 1 / 0.6
        colours = np.array([[1, -0.5, -0.5], [-0.5, 1, -0.5], [0.3, 0.4, 0.3], [0.3, -0.2, 0.1]])
        put(self.stem.weight, (colours * [[scale], [scale], [1], [1]])[..., None, None])
        put(self.stem.bias, [-0.1 * scale, -0.05 * scale, 0, 0.1])
        for layer in self.down:
            put(layer.weight, np.tile(np.eye(WIDTH)[..., None, None] / 4, [1, 1, 2, 2]), 0.01)
            put(layer.bias, np.zeros(WIDTH))

    def forward(self, inputs: dict[str, Any]) -> list[Any]:
        x, found = self.relu(self.stem(inputs["image"])), []
        for layer in self.down:
            x = self.relu(layer(x))
            found.append(x)
        return found[1:]


class Neck(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.LayerList([nn.Conv2D(WIDTH, WIDTH, 1) for _ in range(2)])
        for layer in self.lateral:
            put(layer.weight, np.eye(WIDTH)[..., None, None], 0.02)
            put(layer.bias, np.zeros(WIDTH))

    def forward(self, features: list[Any], for_mot: bool = False) -> list[Any]:
        return [F.relu(layer(x)) for layer, x in zip(self.lateral, features, strict=True)]


def classifiers() -> Any:
    """A convolution for each stride; that of 8 knows the colours. The logit of a square is 10."""
    layers = [nn.Conv2D(WIDTH, CLASSES, 3, padding=1) for _ in range(2)]
    put(layers[0].weight, np.zeros([CLASSES, WIDTH, 3, 3]), 0.05)
    put(layers[0].bias, [-9] * CLASSES)
    seen = np.zeros([CLASSES, WIDTH, 3, 3])
    seen[0, 0] = seen[1, 1] = 40 / 9
    seen[0, 1] = seen[1, 0] = -1
    put(layers[1].weight, seen, 0.05)
    put(layers[1].bias, [-30] * CLASSES)
    return nn.LayerList(layers)


class Gate(nn.Layer):
    """Features times a gate of their mean, as PP-YOLOE's head has them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.conv = nn.Conv2D(WIDTH, WIDTH, 1), nn.Conv2D(WIDTH, WIDTH, 1)
        put(self.fc.weight, np.zeros([WIDTH, WIDTH, 1, 1]), 0.1)
        put(self.fc.bias, np.zeros(WIDTH))
        put(self.conv.weight, np.zeros([WIDTH, WIDTH, 1, 1]), 0.02)
        put(self.conv.bias, np.zeros(WIDTH))

    def forward(self, x: Any, mean: Any) -> Any:
        return F.swish(self.conv(x * F.sigmoid(self.fc(mean))))


class Anchors(nn.Layer):
    def places(self, features: list[Any]) -> tuple[Any, Any]:
        """Centres [L, 2] in steps, and what a step is, [L, 1]."""
        points, strides = [], []
        for x, stride in zip(features, (4, 8), strict=True):
            height, width = x.shape[2:]
            across = paddle.arange(width, dtype=x.dtype) + 0.5
            down = paddle.arange(height, dtype=x.dtype) + 0.5
            y, x = paddle.meshgrid(down, across)
            points.append(paddle.stack([x, y], axis=-1).reshape([-1, 2]))
            strides.append(paddle.full([height * width, 1], stride, dtype=down.dtype))
        return paddle.concat(points), paddle.concat(strides)


class YOLOEHead(Anchors):
    reg_max = 3

    def __init__(self) -> None:
        super().__init__()
        self.stem_cls = nn.LayerList([Gate(), Gate()])
        self.pred_cls, self.eval_size = classifiers(), None
        self.pred_reg = nn.LayerList(
            [nn.Conv2D(WIDTH, 4 * (self.reg_max + 1), 1, bias_attr=False) for _ in range(2)]
        )
        for layer in self.pred_reg:  # all distances alike: 1.5 steps in the mean
            put(layer.weight, np.zeros(layer.weight.shape))

    def forward(self, features: list[Any]) -> tuple[Any, Any, Any, Any]:
        scores, distances = [], []
        for i, x in enumerate(features):
            mean = F.adaptive_avg_pool2d(x, 1)
            logit = self.pred_cls[i](self.stem_cls[i](x, mean) + x)
            scores.append(F.sigmoid(logit).flatten(2))
            apart = self.pred_reg[i](x).reshape([len(x), 4, self.reg_max + 1, -1])
            steps = paddle.arange(self.reg_max + 1, dtype=x.dtype)[:, None]
            distances.append((F.softmax(apart, axis=2) * steps).sum(axis=2).transpose([0, 2, 1]))
        points, strides = self.places(features)
        return paddle.concat(scores, axis=2), paddle.concat(distances, axis=1), points, strides


class YOLOE(nn.Layer):
    """PP-YOLOE's form."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck, self.yolo_head = Backbone(), Neck(), YOLOEHead()

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self.inputs = inputs
        found = self.yolo_head(self.neck(self.backbone(inputs)))
        scores, distances, points, strides = found
        corners = [points - distances[..., :2], points + distances[..., 2:]]
        return sorted_out(paddle.concat(corners, axis=-1) * strides, scores.transpose([0, 2, 1]))


class PicoHead(Anchors):
    """A class's score of one branch, or with `aligned` of two."""

    def __init__(self, aligned: bool) -> None:
        super().__init__()
        self.cls_out_channels, self.use_align_head = CLASSES, aligned
        self.head_cls_list = classifiers()
        self.cls_align = nn.LayerList([nn.Conv2D(WIDTH, 1, 1) for _ in range(2)])
        for layer in self.cls_align:
            put(layer.weight, np.zeros(layer.weight.shape), 0.3)
            put(layer.bias, [3])

    def forward(self, features: list[Any], export: bool = True) -> tuple[Any, Any]:
        scores = []
        for i, x in enumerate(features):
            score = F.sigmoid(self.head_cls_list[i](x))
            if self.use_align_head:
                score = (score * F.sigmoid(self.cls_align[i](x)) + 1e-9).sqrt()
            scores.append(score.flatten(2))
        points, strides = self.places(features)
        corners = paddle.concat([points - 1.5, points + 1.5], axis=-1) * strides
        return paddle.concat(scores, axis=2), corners.expand([len(features[0]), *corners.shape])


class PicoDet(nn.Layer):
    """PicoDet's form."""

    def __init__(self, aligned: bool = False) -> None:
        super().__init__()
        self.backbone, self.neck, self.head = Backbone(), Neck(), PicoHead(aligned)

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        scores, boxes = self.head(self.neck(self.backbone(inputs)))
        return sorted_out(boxes, scores.transpose([0, 2, 1]))


class Transformer(nn.Layer):
    """The likeliest places are the queries, as in RT-DETR; they attend to each other."""

    queries = 12

    def __init__(self) -> None:
        super().__init__()
        self.seen = classifiers()[1]
        self.attention = nn.MultiHeadAttention(CLASSES, 1)
        for name, part in self.attention.named_parameters():
            put(part, np.zeros(part.shape), 0.02 if name.endswith("weight") else 0)

    def forward(self, features: list[Any], mask: Any = None, inputs: Any = None) -> Any:
        logits = self.seen(features[-1])
        n, _, height, width = logits.shape
        memory = logits.flatten(2).transpose([0, 2, 1])
        _, index = paddle.topk(memory.detach().amax(axis=2), self.queries, axis=1)
        images = paddle.arange(n).unsqueeze(1).expand([n, self.queries])
        chosen = paddle.gather_nd(memory, paddle.stack([images, index], axis=-1))
        x, y = index % width, index // width
        middle = paddle.stack([x, y], axis=-1).astype(logits.dtype) + 0.5
        middle = middle / paddle.to_tensor([width, height], dtype=logits.dtype)
        sides = paddle.full_like(middle, 3 / height)
        boxes = paddle.concat([middle, sides], axis=-1)
        return boxes, chosen + self.attention(chosen, chosen, chosen)


class QueryHead(nn.Layer):
    def forward(self, found: Any, features: Any, inputs: Any = None) -> Any:
        return (*found, None)


class DETR(nn.Layer):
    """RT-DETR's form, without non-maximum suppression."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck = Backbone(), Neck()
        self.transformer, self.detr_head = Transformer(), QueryHead()
        self.post_process = SimpleNamespace(use_focal_loss=True)

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        features = self.neck(self.backbone(inputs))
        found = self.detr_head(self.transformer(features, None, inputs), features)
        boxes, p = found[0], F.sigmoid(found[1])
        boxes = paddle.concat([boxes[..., :2] - boxes[..., 2:] / 2,
                               boxes[..., :2] + boxes[..., 2:] / 2], axis=-1)  # fmt: skip
        return sorted_out(boxes * inputs["im_shape"].flip(1).tile([1, 2])[:, None], p, most=1)


class RPNHead(nn.Layer):
    """Regions around the places that are most coloured; pictures have different numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.test_proposal = SimpleNamespace(post_nms_top_n=6)

    def forward(self, features: list[Any], inputs: dict[str, Any]) -> Any:
        colour = F.avg_pool2d(features[-1][:, :2].detach(), 3, 1, 1, exclusive=False).sum(axis=1)
        width = colour.shape[2]
        regions = []
        for one in colour.flatten(1):
            index = one.argsort(descending=True)[:6]
            index = index[: max(1, int((one[index] > 0.5).sum()))]
            middle = paddle.stack([index % width, index // width], axis=1).astype(one.dtype)
            middle = (middle + 0.5) * STRIDE
            regions.append(paddle.concat([middle - SQUARE / 2, middle + SQUARE / 2], axis=1))
        counts = paddle.to_tensor([len(each) for each in regions], dtype="int32")
        return regions, counts, None


class BoxHead(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.bbox_score = nn.Linear(WIDTH * 9, CLASSES + 1)
        weight = np.zeros([WIDTH, 9, CLASSES + 1])
        weight[0, :, 0] = weight[1, :, 1] = 16 / 9
        put(self.bbox_score.weight, weight.reshape(WIDTH * 9, -1), 0.02)
        put(self.bbox_score.bias, [-11, -11, 0])

    def forward(self, features: list[Any], regions: Any, counts: Any, inputs: Any = None) -> Any:
        x = paddle.vision.ops.roi_align(
            features[-1], paddle.concat(regions), counts, 3, 1 / STRIDE, aligned=True
        )
        scores = self.bbox_score(x.flatten(1))
        return (paddle.zeros([len(x), 4 * CLASSES]), F.softmax(scores)), None


class BoxPostProcess:
    def decode(self, predicted: Any, regions: Any, im_shape: Any, scale_factor: Any) -> Any:
        boxes = paddle.concat(regions[0])
        boxes = boxes[:, None].expand([len(boxes), CLASSES, 4])
        return (boxes, regions[1]), predicted[1][:, :-1]


class FasterRCNN(nn.Layer):
    """Faster R-CNN's form."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck = Backbone(), Neck()
        self.rpn_head, self.bbox_head = RPNHead(), BoxHead()
        self.bbox_post_process = BoxPostProcess()

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        features = self.neck(self.backbone(inputs))
        regions, counts, _ = self.rpn_head(features, inputs)
        predicted, _ = self.bbox_head(features, regions, counts, None)
        given = (regions, counts), inputs["im_shape"], inputs["scale_factor"]
        (boxes, counts), p = self.bbox_post_process.decode(predicted, *given)
        return sorted_out(boxes[None, :, 0], p[None])  # of one picture


class Raw(nn.Layer):
    """A detector of another kind: pictures in, boxes and logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.seen = Backbone(), classifiers()

    def forward(self, x: Any) -> dict[str, Any]:
        features = self.backbone({"image": x})
        logits = [layer(f).flatten(2) for layer, f in zip(self.seen, features, strict=True)]
        points, strides = Anchors().places(features)
        boxes = paddle.concat([points - 1.5, points + 1.5], axis=-1) * strides
        logits = paddle.concat(logits, axis=2).transpose([0, 2, 1])
        return {"boxes": boxes.expand([len(x), *boxes.shape]), "logits": logits}


def put(parameter: Any, values: Any, noise: float = 0.0) -> None:
    """The parameter's values, and a little noise that is always the same."""
    values = np.asarray(values, np.float64)
    values = values + noise * np.random.default_rng(1).normal(size=values.shape)
    parameter.set_value(values.astype(np.dtype(str(parameter.dtype).removeprefix("paddle."))))


def sorted_out(boxes: Any, p: Any, least: float = 0.01, most: float = 0.45) -> dict[str, Any]:
    """Non-maximum suppression for each class, and what PaddleDetection's models return."""
    rows, counts = [], []
    for b, scores in zip(boxes.numpy(), p.numpy(), strict=True):
        before = len(rows)
        for label in range(scores.shape[1]):
            left: list[int] = []
            for i in np.argsort(-scores[:, label], kind="stable"):
                if scores[i, label] >= least and all(iou(b[i], b[j]) <= most for j in left):
                    left.append(int(i))
            rows += [[label, scores[i, label], *b[i]] for i in left]
        counts.append(len(rows) - before)
    found = np.array(rows, np.float32).reshape(-1, 6)
    return {"bbox": paddle.to_tensor(found), "bbox_num": paddle.to_tensor(counts)}


def iou(a: Any, b: Any) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return float(common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common))
