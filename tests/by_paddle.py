"""What Paddle gives by itself, to hold others' numbers against."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F


def gradient_of(model: Any, x: Any, labels: Any, kind: str = "probability") -> Any:
    """Gradient of the labels' scores with respect to x."""
    tensor = paddle.to_tensor(x, stop_gradient=False)
    logits = model(tensor)
    odds = {"probability": F.softmax(logits), "logit": logits, "loss": -F.log_softmax(logits)}[kind]
    score = (odds * F.one_hot(paddle.to_tensor(labels), logits.shape[1])).sum()
    return paddle.grad(score, tensor)[0].numpy()


def softmax(model: Any, x: Any) -> Any:
    with paddle.no_grad():
        return F.softmax(model(paddle.to_tensor(x))).numpy()
