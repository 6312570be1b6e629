"""Attention of models that take a picture and a text, such as CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UnsupportedModelError
from ..explanation import Explanation
from ..probe import Attention
from ..subject import Subject
from ..targets import ClassScore
from .abc_interpreter import InputGradientInterpreter, named_layers
from .attention import from_layer, generic_attention, patches, row_of_class
from .base import Array

__all__ = ["GAInterpreter"]


class GAInterpreter(InputGradientInterpreter):
    """Generic attention for a picture and a text: which patches and which words make them match.

        R ← R + mean over heads of (∇A ⊙ A)⁺ · R,    from R = I on, for picture and text apart

    A is the attention of a layer, ∇A the gradient of the pair's score with respect to it. It is for
    models in which picture and text are each read by a transformer of their own and meet in the
    score, as CLIP's; one that attends from one to the other is refused. Costs a forward and a
    backward pass; without patterns, another forward pass.

    Chefer, Gur, Wolf: Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers, 2021, https://arxiv.org/abs/2103.15679.

    Args:
        model: paddle.nn.Layer; `model(picture, token_ids)` gives scores [pictures, texts], alone or
            as the first of several.
        device, use_cuda, options: see Interpreter; output= says which part of what the model gives
            are the scores, where it is not the first.
    """

    def __init__(
        self,
        model: Any,
        device: str | None = None,
        use_cuda: bool | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(model, Subject):
            options = {"output": _scores, "output_kind": "logits", **options}
        super().__init__(model, device, use_cuda, **options)

    def interpret(  # type: ignore[override]  # InterpretDL's arguments
        self,
        image_input: Any,
        text: str | Sequence[str],
        text_tokenized: Any,
        vis_attn_layer_pattern: str | None = None,
        txt_attn_layer_pattern: str | None = None,
        start_layer: int | None = None,
        start_layer_text: int | None = None,
        resize_to: int | None = None,
        crop_to: int | None = None,
        visual: bool = True,
        save_path: Any = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Relevance of a text's tokens and of a picture's patches to their score; draws the latter.

        Args:
            image_input: a picture, as `Interpreter.explain` takes it.
            text: the text, for the figure.
            text_tokenized: its token ids, int [1, T], as the model takes them.
            vis_attn_layer_pattern, txt_attn_layer_pattern: regular expressions that the names of
                layers begin with whose outputs are the attention over patches and over words, such
                as "^visual.transformer.resblocks.[0-9]*.attn.attn_map$". Both None: attention is
                met at the softmax, and that over patches is what changes with the picture.
            start_layer: the first layer of attention over patches that counts, from 0. None: the
                last, InterpretDL's 11 in a model of 12 layers.
            start_layer_text: likewise, of attention over words.
            resize_to, crop_to: see `Interpreter.explain`.
            visual: show the picture, where there is a notebook or a display.
            save_path: where it is saved (.png, .jpg, .pdf, .svg, or .npz for the values).

        Returns:
            Of the text float32 [1, T, T], how much token t takes from token s; the row of the token
            from which the model reads the text is its relevance. Of the picture float32 [h, w], the
            class token's row for the grid of patches; not negative.

        Raises:
            InputError: not one picture and one text, one pattern without the other, or no such
                start_layer.
            LayerNotFoundError: no layer's name begins with the pattern.
            UnsupportedModelError: the model does not attend over both, or the grid of patches is
                not known.
            ImageReadError, ResourceError.
        """
        ids = np.asarray(text_tokenized)
        if ids.ndim == 1:
            ids = ids[None]
        if ids.ndim != 2 or len(ids) != 1 or ids.dtype.kind not in "iu":
            raise InputError(
                "text_tokenized must be the token ids of one text, whole numbers [1, T]; got "
                f"{ids.dtype} {list(ids.shape)}"
            )
        patterns = (vis_attn_layer_pattern, txt_attn_layer_pattern)
        if (patterns[0] is None) != (patterns[1] is None):
            raise InputError("give both patterns of attention layers, or none")
        batch = self.subject.read(image_input, resize_to=resize_to, crop_to=crop_to)
        if len(batch) != 1:
            raise InputError(f"give one picture; got {len(batch)}")
        found, count = self._attention(batch.inputs, ids.astype(np.int64), patterns)
        of_picture, of_text = (
            replace(found, maps=found.maps[part], gradients=found.gradients[part])
            for part in (slice(count), slice(count, None))
        )
        matrices = [
            _followed(each, start)
            for each, start in ((of_picture, start_layer), (of_text, start_layer_text))
        ]
        relevance = patches(row_of_class(matrices[0], of_picture), None)
        words = text if isinstance(text, str) else " ".join(map(str, text))
        explanation = Explanation(
            values=relevance,
            labels=np.zeros(1, np.int64),
            scores=found.scores,
            images=batch.images,
            method="generic_attention",
            target=ClassScore(0),
            signed=False,
            class_names=(words,),
            sources=batch.sources,
        )
        if save_path is not None:
            explanation.save(save_path[0] if isinstance(save_path, list | tuple) else save_path)
        if visual and explanation.images is not None:
            from ..data_processor.showing import show

            show(explanation.plot())
        return matrices[1].astype(np.float32), relevance[0]

    def _attention(
        self, image: Array, ids: Array, patterns: tuple[str | None, str | None]
    ) -> tuple[Attention, int]:
        """Attention over patches, then over words, and how many layers the first are."""
        of_image, of_words = (named_layers(self, pattern) for pattern in patterns)
        found = self.probe.attention((image, ids), ClassScore(0), [*of_image, *of_words])
        count = len(of_image)
        if not count:
            # A text's attention is the same beside another picture.
            noise = np.random.default_rng(0).normal(0, image.std() + 1, image.shape)
            other = self.probe.attention((image + noise.astype(image.dtype), ids)).maps
            pairs = zip(found.maps, other, strict=True)
            changes = np.array([not np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs])
            count = int(changes.sum())
            order = np.argsort(~changes, kind="stable")
            found.maps = [found.maps[k] for k in order]
            found.gradients = [found.gradients[k] for k in order]
        if count in (0, len(found.maps)):
            what = "over the picture, but not over the text" if count else "over the text alone"
            raise UnsupportedModelError(
                f"the model attends {what}; GAInterpreter needs a transformer for each. For a "
                "picture alone take GACVInterpreter"
            )
        found.size = None  # that of the last layer's tokens, which are words
        # Models that put items and heads in one axis give [heads, T, T].
        found.maps = [a.reshape(1, -1, *a.shape[-2:]) for a in found.maps]
        found.gradients = [g.reshape(1, -1, *g.shape[-2:]) for g in found.gradients]
        return found, count


def _scores(output: Any) -> Any:
    """Of what the model gives, the scores [pictures, texts]."""
    return output[0] if isinstance(output, list | tuple) else output


def _followed(found: Attention, start: int | None) -> NDArray[np.float64]:
    """Generic attention of the layers of one kind, [1, T, T].

    Raises:
        UnsupportedModelError: they are not over the same tokens.
    """
    shapes = sorted({attention.shape[2:] for attention in found.maps})
    if len(shapes) > 1 or shapes[0][0] != shapes[0][1]:
        raise UnsupportedModelError(
            "attention must be over the same tokens in all layers of the picture, and of the text; "
            f"it is {' and '.join(str(list(shape)) for shape in shapes)}"
        )
    layers = len(found.maps)
    first = layers - 1 if start is None else from_layer(start, layers, 1)
    return generic_attention(found.maps[first:], found.gradients[first:])
