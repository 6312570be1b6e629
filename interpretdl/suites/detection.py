"""DetectionSubject: what a detector has found, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import paddle
from numpy.typing import NDArray

from ..errors import InputError, TargetError
from ..explanation import Explanation
from ..hints import check_value
from ..probe import Probe
from ..record import plain
from ..registry import METHODS
from ..subject import Subject
from ..targets import ClassScore, DetectionScore, DetectionSimilarity, target_of
from ..targets.spatial import Activation, probabilities_of
from .detector import Boxes, Final, Kind, Read, kind_of
from .found import Detection, Found, chosen, row_of, sorted_out
from .frames import Frame, Reader

__all__ = ["Detection", "DetectionSubject"]

Array = NDArray[Any]
_PARTS = ("backbone_outputs", "neck_outputs")
Box = int | Sequence[float] | NDArray[Any]
Which = Literal["class", "similarity"]


class DetectionSubject:
    """A detector, whose boxes are explained one by one.

        detector = it.DetectionSubject(model, class_names=names)
        print(*detector.detect("street.jpg"), sep="\\n")
        detector.explain("street.jpg", box=0).save("box.png")

    Explained is the class's logit of the anchor or query that made the box: of the model's class
    branch, before boxes are sorted out (what non-maximum suppression leaves has no gradient).

    Args:
        model: a model of PaddleDetection, or any paddle.nn.Layer; it is left as it was.
        kind: how the model is read: "ppyoloe", "picodet", "detr" (DETR, DINO, RT-DETR),
            "faster_rcnn"; None: what its parts look like. Of another detector a function from what
            the model returns to boxes [N, M, 4] in pixels of its input and scores [N, M, K].
        size: side of the network's input, or (height, width). Pictures are resized to it as a
            whole, arrays too. None: what the model's head was made for, or 640.
        preprocessing: a Preprocessing, of which mean, std and interpolation count; None:
            ImageNet's. Or a reader of PaddleDetection's configuration, `cfg["TestReader"]`, which
            says all, also whether the ratio of the sides is kept.
        class_names: a name for each class; None takes `model.class_names`.
        score_threshold: the least probability of a box that is listed.
        activation: of scores that a function gives: "sigmoid" or "softmax" makes probabilities of
            them, None: they are probabilities.
        iou_threshold: of two boxes of one class that overlap more, only the surer one is listed;
            where a function gives the boxes. The known kinds do this themselves.
        device, batch_size: see Probe.

    Raises:
        InputError: an argument that does not fit.
        UnsupportedModelError: no kind is named, and the model is of none that is known.
    """

    def __init__(
        self,
        model: Any,
        kind: str | Read | None = None,
        *,
        size: int | Sequence[int] | None = None,
        preprocessing: Any = None,
        class_names: Sequence[str] | None = None,
        score_threshold: float = 0.5,
        activation: Activation = None,
        iou_threshold: float = 0.5,
        device: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        for name, share in (("score_threshold", score_threshold), ("iou_threshold", iou_threshold)):
            check_value(name, share, float)
            if not 0 <= share <= 1:
                raise InputError(f"{name} must be between 0 and 1; got {share!r}")
        check_value("activation", activation, Activation)
        check_value("class_names", class_names, Sequence[str] | None)
        model = Probe(model, device).model
        self.kind = kind_of(model, kind)
        self.activation = activation
        if isinstance(self.kind, Kind):
            if activation is not None:
                raise InputError("activation= is for scores that a function gives, kind=function")
            self.activation = self.kind.activation(model)
        own = getattr(model, "preprocessing", None) if preprocessing is None else None
        self._reader = Reader.of(own or preprocessing, size, _own_size(model))
        names = getattr(model, "class_names", None) if class_names is None else class_names
        self.model, self.class_names = model, None if names is None else tuple(names)
        self.score_threshold, self.iou_threshold = float(score_threshold), float(iou_threshold)
        self.subject = Subject.of(
            Boxes(model, self.kind), output_kind="logits", batch_size=batch_size, engine="dygraph",
            preprocessing=replace(self._reader.numbers, resize=None, crop=None, crop_first=False),
            class_names=self.class_names,
        )  # fmt: skip

    # -- what is found ---------------------------------------------------------------------------

    def detect(self, picture: Any) -> list[Detection]:
        """The boxes that the detector finds in a picture, the surest first.

        Args:
            picture: a path, bytes, file object, PIL image or integer array [H, W, C], which are
                resized; or a float array [1, C, H, W], the network's input as it is.

        Returns:
            Those of `score_threshold` or more; `print(*found, sep="\\n")` lists them.

        Raises:
            ImageReadError, InputError: as `Interpreter.explain`.
        """
        return list(self._look(picture).detections)

    def _look(self, picture: Any) -> Found:
        frame = self._reader.read(picture)
        found = self._outputs(frame)
        boxes = found[:, :4].astype(np.float64)
        p = probabilities_of(paddle.to_tensor(found[:, 4:], place="cpu"), self.activation).numpy()
        if isinstance(self.kind, Kind):
            p = p[:, :-1] if self.activation == "softmax" else p
            final = Probe(Final(self.model), output_kind="logits", engine="dygraph")
            listed = final.logits(frame.x).astype(np.float64)
            listed = listed[(listed[:, 0] >= 0) & (listed[:, 1] >= self.score_threshold)]
            rows = [row_of(each, boxes, p, frame) for each in listed]
            labels, scores, corners = listed[:, 0].astype(int), listed[:, 1], listed[:, 2:]
        else:
            rows, labels = sorted_out(boxes, p, self.score_threshold, self.iou_threshold)
            scores, corners = p[rows, labels], boxes[rows]
        if self.class_names is not None and len(self.class_names) != p.shape[1]:
            raise InputError(
                f"{len(self.class_names)} class names were given for a detector with {p.shape[1]} "
                "classes"
            )
        order = np.argsort(-scores, kind="stable")
        places = frame.in_picture(corners)
        detections = tuple(
            Detection(
                index, int(labels[i]), self._name(int(labels[i])), float(scores[i]),
                tuple(places[i].tolist()),
            )
            for index, i in enumerate(order)
        )  # fmt: skip
        return Found(frame, boxes, p, np.asarray(rows, np.int64)[order], detections)

    def _outputs(self, frame: Frame) -> Array:
        own = _own_size(self.model)
        if isinstance(self.kind, Kind) and own and tuple(own) != frame.x.shape[2:]:
            height, width = frame.x.shape[2:]
            raise InputError(
                f"the head was made for pictures of {own[0]} x {own[1]} pixels (eval_size); got "
                f"{height} x {width}. Leave size=None, or build the model with eval_size=None"
            )
        found: Array = self.subject.probe.logits(frame.x)[0]
        return found

    def _name(self, label: int) -> str:
        return f"class {label}" if self.class_names is None else self.class_names[label]

    # -- what is explained -------------------------------------------------------------------------

    def target(
        self, picture: Any, box: Box = 0, *, label: int | str | None = None, score: Which = "class"
    ) -> DetectionScore | DetectionSimilarity:
        """The score of one box, as a target for any method or evaluator on `subject`.

        Args:
            picture: see `detect`.
            box: see `explain`.
            label: see `explain`.
            score: "class", the class's logit of the anchor or query; or "similarity", D-RISE's.

        Raises:
            InputError, TargetError: see `explain`.
        """
        found = self._look(picture)
        return self._target(found, chosen(found, box), label, score)

    def explain(
        self,
        picture: Any,
        box: Box = 0,
        method: str = "layer_cam",
        *,
        label: int | str | None = None,
        score: Which | None = None,
        **options: Any,
    ) -> Explanation:
        """Why the detector has found one box, by any method.

        Args:
            picture: see `detect`.
            box: its index in `detect`; or x0, y0, x1, y1 in pixels of the picture, which means the
                box that overlaps these most; or a place x, y, which means the surest box there.
            method: its registered name, see `interpretdl.registry.methods()`. "rise" is D-RISE.
            label: another class than the box's, an index or a name: what speaks for it there.
            score: "class" or "similarity", see `target`; None is "class", and "similarity" for
                method="rise".
            options: of the method. For class activation maps, target_layer_name=None is
                "backbone_outputs", the mean over all sizes of features that the backbone gives;
                "neck_outputs" are those of the neck, "neck_outputs.0" is one of them.

        Returns:
            Explanation whose picture is the one that was given, with the box as its region.
            `top()` has the box's classes. Diagnostics "box" has its corners, [1, 4].

        Raises:
            InputError: what is given is no box, or an unknown method.
            TargetError: there is no such box; those that there are, are named.
            ImageReadError, LayerNotFoundError, UnsupportedModelError, ResourceError: as
            `Interpreter.explain`.
        """
        info = METHODS.find(method)
        score = score or ("similarity" if info.name == "rise" else "class")
        found = self._look(picture)
        one = chosen(found, box)
        target = self._target(found, one, label, score)
        if info.needs_layer:
            name = options.get("target_layer_name")
            options["target_layer_name"] = self._layers(found.frame, name)
        interpreter = info.cls(self.subject)
        explained: Explanation = interpreter.explain(found.frame.x, label=target, **options)
        frame, corners = found.frame, np.asarray([one.box])
        p = found.p[found.rows[one.index]]
        explained_label = target.labels if isinstance(target, DetectionScore) else one.label
        box_facts = {"box": plain(list(one.box)), "score": score}
        diagnostics = {
            name: frame.of_picture(fact, explained.signed)
            if np.shape(fact) == explained.values.shape
            else fact
            for name, fact in explained.diagnostics.items()
        }
        return replace(
            explained,
            values=frame.of_picture(explained.values, explained.signed),
            labels=np.asarray(explained_label, np.int64).reshape(1),
            images=frame.picture[None],
            probabilities=p[None].astype(np.float32),
            class_names=self.class_names,
            parameters={**explained.parameters, **box_facts, "model": type(self.model).__name__},
            diagnostics={**diagnostics, "box": corners},
            sources=(frame.source,),
            regions=frame.region(corners[0]),
        )

    def _target(
        self, found: Found, one: Detection, label: Any, score: Which
    ) -> DetectionScore | DetectionSimilarity:
        check_value("score", score, Which)
        row = int(found.rows[one.index])
        if score == "similarity":
            if label is not None:
                raise InputError(
                    "score='similarity' is of all classes of the box; leave label=None"
                )
            return DetectionSimilarity(found.boxes[row], found.p[row], self.activation)
        number = one.label
        if label is not None:
            named = target_of(label, "logit", self.class_names, 1, [0])
            if not isinstance(named, ClassScore) or named.labels.ndim:
                raise InputError(f"label must be a class, an index or a name; got {label!r}")
            number = int(named.labels)
            if not 0 <= number < found.p.shape[1]:
                raise TargetError(f"label {number} is not in [0, {found.p.shape[1]})")
        if isinstance(self.kind, Kind) and self.kind.fixed:
            return DetectionScore(number, index=row)
        return DetectionScore(number, found.boxes[row])

    def _layers(self, frame: Frame, name: Any) -> Any:
        """The layers of a class activation map: all outputs of a part, or what is named."""
        usual = name is None or (isinstance(name, str) and name in _PARTS)
        if isinstance(self.kind, Kind) and usual:
            ran = self.subject.probe.layer_shapes(frame.x)
            found = [each for each in ran if each.startswith(f"{name or _PARTS[0]}.")]
            return found or name
        return name


def _own_size(model: Any) -> Any:
    """The size that a head has its anchors for, where it has them."""
    for name in ("yolo_head", "head", "transformer", "neck"):
        if (size := getattr(getattr(model, name, None), "eval_size", None)) is not None:
            return size
    return None
