"""Vision transformers ViT (https://arxiv.org/abs/2010.11929) and DeiT (2012.12877).

State dicts are interchangeable with PaddleClas's `ViT_small_patch16_224`, `DeiT_tiny_patch16_224`
and their siblings. Changes of shape and constant factors aside, every operation is a layer.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import paddle
from paddle import nn

from ..errors import InputError
from ..preprocessing import IMAGENET, Preprocessing, whole_number
from .download import published
from .layers import Add, Pretrained, Product, RelevanceModel
from .weights import finish

if TYPE_CHECKING:
    from ..rules import Composite

__all__ = [
    "DeiT",
    "VisionTransformer",
    "deit_base_patch16_224",
    "deit_small_patch16_224",
    "deit_tiny_patch16_224",
    "vit_base_patch16_224",
    "vit_small_patch16_224",
]


def _normal() -> nn.initializer.Initializer:
    return nn.initializer.TruncatedNormal(std=0.02)


def _dense(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(inputs, outputs, weight_attr=_normal(), bias_attr=None if bias else False)


class PatchEmbed(nn.Layer):
    """A convolution that makes each patch of the picture a token."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2D(in_channels, width, patch, stride=patch)
        self.flatten = nn.Flatten(2)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, H, W] to [N, H·W / patch², width]."""
        return self.flatten(self.proj(x)).transpose([0, 2, 1])


class ClassToken(nn.Layer):
    """Puts a token that all pictures share before the patches."""

    def forward(self, token: paddle.Tensor, x: paddle.Tensor) -> paddle.Tensor:
        """[1, 1, width] and [N, T, width] to [N, 1 + T, width]."""
        return paddle.concat([token.expand([x.shape[0], -1, -1]), x], axis=1)


class Attention(nn.Layer):
    """Self-attention: in each head softmax(scale · q kᵀ) v."""

    def __init__(self, width: int, heads: int, qkv_bias: bool, scale: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv = _dense(width, 3 * width, qkv_bias)
        self.similarity = Product()
        self.softmax = nn.Softmax()
        self.attn_drop = nn.Dropout(0.0)  # InterpretDL finds attention by this layer's name
        self.mix = Product()
        self.proj = _dense(width, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, T, width] to the same shape."""
        # 0 keeps the size of an axis
        parts = self.qkv(x).reshape([0, 0, 3, self.heads, -1]).transpose([2, 0, 3, 1, 4])
        q, k, v = parts[0], parts[1], parts[2]
        similarity = self.similarity(q, k.transpose([0, 1, 3, 2])) * self.scale
        mixed = self.mix(self.attn_drop(self.softmax(similarity)), v)
        return self.proj(mixed.transpose([0, 2, 1, 3]).reshape([0, 0, -1]))


class Mlp(nn.Layer):
    """Two dense layers with GELU between them, for each token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = _dense(width, hidden)
        self.act = nn.GELU()
        self.fc2 = _dense(hidden, width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, T, width] to the same shape."""
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Layer):
    """Attention and perceptron, each normalized before and added to its input."""

    def __init__(
        self, width: int, heads: int, hidden: int, qkv_bias: bool, scale: float, epsilon: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.attn = Attention(width, heads, qkv_bias, scale)
        self.add1 = Add()
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.mlp = Mlp(width, hidden)
        self.add2 = Add()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, T, width] to the same shape."""
        x = self.add1(x, self.attn(self.norm1(x)))
        return self.add2(x, self.mlp(self.norm2(x)))


class VisionTransformer(RelevanceModel):
    """A vision transformer with a class token; see `vit_small_patch16_224`.

    Args:
        num_classes: number of logits.
        in_channels: number of input channels.
        size: height and width of the input in pixels.
        patch: height and width of a patch; divides `size`.
        width: numbers in a token.
        depth: number of blocks.
        heads: heads of attention; divides `width`.
        mlp_ratio: hidden units of a perceptron, in widths.
        qkv_bias: whether queries, keys and values have a bias.
        qk_scale: factor before the softmax; None is 1 / √(width / heads).
        epsilon: what normalization adds to the variance.

    Raises:
        InputError: a number is not a positive integer, or sizes do not divide.
    """

    photograph: ClassVar[Preprocessing] = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        *,
        size: int = 224,
        patch: int = 16,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: int = 4,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        epsilon: float = 1e-6,
    ) -> None:
        super().__init__(num_classes, in_channels)
        sizes = {"size": size, "patch": patch, "width": width, "depth": depth, "heads": heads}
        for name, value in {**sizes, "mlp_ratio": mlp_ratio}.items():
            whole_number(value, name)
        for whole, part in (("size", "patch"), ("width", "heads")):
            if sizes[whole] % sizes[part]:
                raise InputError(
                    f"{part} must divide {whole}; got {sizes[part]} and {sizes[whole]}"
                )
        self._image = [in_channels, size, size]
        scale = (width // heads) ** -0.5 if qk_scale is None else qk_scale
        tokens = (size // patch) ** 2 + 1
        self.pos_embed = self.create_parameter([1, tokens, width], default_initializer=_normal())
        self.cls_token = self.create_parameter([1, 1, width], default_initializer=_normal())
        self.patch_embed = PatchEmbed(in_channels, width, patch)
        self.prefix = ClassToken()
        self.add = Add()
        blocks = [
            Block(width, heads, mlp_ratio * width, qkv_bias, scale, epsilon) for _ in range(depth)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width, epsilon)
        self.head = _dense(width, num_classes)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Input [N, in_channels, size, size] to logits [N, num_classes].

        Raises:
            InputError: the input has another size.
        """
        if list(x.shape[1:]) != self._image:
            raise InputError(
                f"the input must be {['N', *self._image]}, because the network has learned a "
                f"position for each patch; got {list(x.shape)}"
            )
        x = self.prefix(self.cls_token, self.patch_embed(x))
        x = self.blocks(self.add(x, self.pos_embed))
        return self.head(self.norm(x)[:, 0])

    def _relprop_rules(self, alpha: float) -> Composite:
        from ..rules import composite_of

        if alpha != 1:
            raise InputError(
                f"relprop of a transformer is AttnLRP, which has no alpha; got {alpha!r}. Leave it "
                "out, or take LRPInterpreter with a composite of your own"
            )
        return composite_of("attn_lrp")


class DeiT(VisionTransformer):
    """A vision transformer that was trained on ImageNet alone; see `deit_tiny_patch16_224`."""

    photograph: ClassVar[Preprocessing] = replace(IMAGENET, interpolation="bicubic")


def vit_small_patch16_224(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> VisionTransformer:
    """ViT-small as PaddleClas has it: 48.8 million parameters, ImageNet top-1 78 %, input 224.

    8 blocks, 8 heads, tokens of 768 numbers, 14 × 14 patches. No other library's "small" has these
    sizes. Queries, keys and values have no bias, and 1 / √768 is before the softmax. The other
    transformers take and return the same.

    Args:
        pretrained: True downloads PaddleClas's weights into a cache (see
            `download.cache_directory`); PaddleClas publishes no checksums, so only their length is
            checked. A path takes a file, see `load_weights`; False leaves random weights.
        num_classes: number of logits.
        in_channels: number of input channels.

    Returns:
        The model, in training mode as Paddle makes it; float32 [N, C, 224, 224] in, logits [N,
        num_classes] out. `.preprocessing` and `.class_names` say what it expects and answers.

    Raises:
        WeightsError: the weights cannot be obtained, are damaged, or do not fit.
    """
    model = VisionTransformer(
        *(num_classes, in_channels),
        **{"depth": 8, "heads": 8, "mlp_ratio": 3},
        qkv_bias=False,
        qk_scale=768**-0.5,
        epsilon=1e-5,
    )
    return finish(model, pretrained, partial(published, "vit_small_patch16_224"))


def vit_base_patch16_224(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> VisionTransformer:
    """ViT-B/16, 86.6 million parameters, top-1 82 %; arguments as in `vit_small_patch16_224`."""
    model = VisionTransformer(num_classes, in_channels)
    return finish(model, pretrained, partial(published, "vit_base_patch16_224"))


def _deit(
    name: str, width: int, pretrained: Pretrained, num_classes: int, in_channels: int
) -> DeiT:
    model = DeiT(num_classes, in_channels, width=width, heads=width // 64)
    return finish(model, pretrained, partial(published, f"deit_{name}_patch16_224"))


def deit_tiny_patch16_224(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> DeiT:
    """DeiT-tiny, 5.7 million parameters, ImageNet top-1 72 %, input 224.

    12 blocks, 3 heads, tokens of 192 numbers, 14 × 14 patches, without the token for distillation.
    Arguments, result and errors as in `vit_small_patch16_224`; the preprocessing is another.
    """
    return _deit("tiny", 192, pretrained, num_classes, in_channels)


def deit_small_patch16_224(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> DeiT:
    """DeiT-small, 22.1 million parameters, top-1 80 %; arguments as in `vit_small_patch16_224`."""
    return _deit("small", 384, pretrained, num_classes, in_channels)


def deit_base_patch16_224(
    pretrained: Pretrained = False, num_classes: int = 1000, in_channels: int = 3
) -> DeiT:
    """DeiT-base, 86.6 million parameters, top-1 82 %; arguments as in `vit_small_patch16_224`."""
    return _deit("base", 768, pretrained, num_classes, in_channels)
