"""Transformers whose tokens are not one grid of patches: LeViT, TNT; and ConvNeXt."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from .filling import CLASSES
from .transformers import DIM, HEADS, Attention, Mlp

# -- LeViT -----------------------------------------------------------------------------------------


class Linear_BN(nn.Sequential):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(nn.Linear(inside, outside, bias_attr=False), nn.BatchNorm1D(outside))

    def forward(self, x: Any) -> Any:
        y = self[0](x)
        return self[1](y.flatten(0, 1)).reshape(y.shape)


class LeViTAttention(nn.Layer):
    """Attention with biases for offsets; with stride 2 the queries are every second token."""

    def __init__(self, dim: int, out: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.side, self.stride, self.key = side, stride, dim // HEADS
        self.qkv = nn.LayerList([Linear_BN(dim, dim) for _ in range(3)])
        self.proj = nn.Sequential(nn.Hardswish(), Linear_BN(dim, out))
        keys = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
        queries = keys[::stride, ::stride].reshape(-1, 1, 2)
        apart = abs(queries - keys.reshape(1, -1, 2))
        self.offsets = apart[..., 0] * side + apart[..., 1]
        self.attention_biases = self.create_parameter((side * side, HEADS))

    def forward(self, x: Any) -> Any:
        n, _, dim = x.shape
        few = x
        if self.stride > 1:
            few = x.reshape((n, self.side, self.side, dim))
            few = few[:, :: self.stride, :: self.stride].reshape((n, -1, dim))
        parts = [self.qkv[0](few), self.qkv[1](x), self.qkv[2](x)]
        q, k, v = (y.reshape((n, -1, HEADS, self.key)).transpose((0, 2, 1, 3)) for y in parts)
        index = paddle.to_tensor(self.offsets.flatten())
        bias = paddle.gather(self.attention_biases, index).reshape((*self.offsets.shape, HEADS))
        attn = q @ k.transpose((0, 1, 3, 2)) * self.key**-0.5 + bias.transpose((2, 0, 1))
        y = F.softmax(attn, axis=-1) @ v
        return self.proj(y.transpose((0, 2, 1, 3)).reshape((n, -1, dim)))


class LeViT(nn.Layer):
    """A convolutional stem to 7 x 7 tokens, which shrink to 4 x 4 and 2 x 2."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(
            nn.Conv2D(3, 6, 3, 2), nn.BatchNorm2D(6), nn.Hardswish(), nn.Conv2D(6, DIM, 3, 2),
            nn.BatchNorm2D(DIM),
        )  # fmt: skip
        self.blocks = nn.LayerList()
        for side in (7, 4):
            mlp = nn.Sequential(Linear_BN(DIM, DIM), nn.Hardswish(), Linear_BN(DIM, DIM))
            self.blocks.extend(
                [LeViTAttention(DIM, DIM, side), mlp, LeViTAttention(DIM, DIM, side, 2)]
            )
        self.head = nn.Sequential(nn.BatchNorm1D(DIM), nn.Linear(DIM, CLASSES))

    def forward(self, x: Any) -> Any:
        x = self.patch_embed(x).flatten(2).transpose((0, 2, 1))
        for block in self.blocks:
            shrinks = getattr(block, "stride", 1) > 1
            x = block(x) if shrinks else x + block(x)
        return self.head(x.mean(1))


# -- TNT -------------------------------------------------------------------------------------------

INNER = 4


class PixelEmbed(nn.Layer):
    """[N, 3, 32, 32] -> [N * patches, pixels, INNER]: 4 x 4 patches of 2 x 2 pixels.

    The picture is cut before the convolution, whose outputs are patches.
    """

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2D(3, INNER, 7, 4, 3)

    def forward(self, x: Any, pixel_pos: Any) -> Any:
        x = F.unfold(x, 8, 8).transpose((0, 2, 1)).reshape((-1, 3, 8, 8))
        return self.proj(x).reshape((-1, INNER, 4)).transpose((0, 2, 1)) + pixel_pos


class TNTBlock(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.norm_in, self.attn_in = nn.LayerNorm(INNER), Attention(INNER)
        self.norm_mlp_in, self.mlp_in = nn.LayerNorm(INNER), Mlp(INNER)
        self.norm1_proj, self.proj = nn.LayerNorm(INNER), nn.Linear(4 * INNER, DIM)
        self.norm_out, self.attn_out = nn.LayerNorm(DIM), Attention()
        self.norm_mlp, self.mlp = nn.LayerNorm(DIM), Mlp()

    def forward(self, pixels: Any, patches: Any) -> Any:
        pixels = pixels + self.attn_in(self.norm_in(pixels))
        pixels = pixels + self.mlp_in(self.norm_mlp_in(pixels))
        n, tokens, _ = patches.shape
        inner = self.norm1_proj(pixels).reshape((n, tokens - 1, -1))
        patches[:, 1:] = patches[:, 1:] + self.proj(inner)
        patches = patches + self.attn_out(self.norm_out(patches))
        return pixels, patches + self.mlp(self.norm_mlp(patches))


class TNT(nn.Layer):
    """Pixel tokens, whose batch axis is N * patches, and patch tokens with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.pixel_embed = PixelEmbed()
        self.norm1_proj, self.proj = nn.LayerNorm(4 * INNER), nn.Linear(4 * INNER, DIM)
        self.norm2_proj = nn.LayerNorm(DIM)
        self.cls_token = self.create_parameter((1, 1, DIM))
        self.patch_pos = self.create_parameter((1, 17, DIM))
        self.pixel_pos = self.create_parameter((1, 4, INNER))
        self.blocks = nn.LayerList([TNTBlock() for _ in range(2)])
        self.norm, self.head = nn.LayerNorm(DIM), nn.Linear(DIM, CLASSES)

    def forward(self, x: Any) -> Any:
        n = x.shape[0]
        pixels = self.pixel_embed(x, self.pixel_pos)
        patches = self.norm2_proj(self.proj(self.norm1_proj(pixels.reshape((n, 16, -1)))))
        first = self.cls_token.expand((n, -1, -1))
        patches = paddle.concat((first, patches), axis=1) + self.patch_pos
        for block in self.blocks:
            pixels, patches = block(pixels, patches)
        return self.head(self.norm(patches)[:, 0])


# -- ConvNeXt --------------------------------------------------------------------------------------


class ChannelsFirstLayerNorm(nn.Layer):
    def __init__(self, dim: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = self.create_parameter([dim])
        self.bias = self.create_parameter([dim], is_bias=True)
        self.epsilon = epsilon

    def forward(self, x: Any) -> Any:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / paddle.sqrt(variance + self.epsilon)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Layer):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2D(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, epsilon=1e-6)
        self.pwconv1, self.act, self.pwconv2 = (
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
        )
        self.gamma = self.create_parameter([dim])

    def forward(self, x: Any) -> Any:
        y = self.norm(self.dwconv(x).transpose([0, 2, 3, 1]))
        y = self.gamma * self.pwconv2(self.act(self.pwconv1(y)))
        return x + y.transpose([0, 3, 1, 2])


class ConvNeXt(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.downsample_layers = nn.LayerList(
            [
                nn.Sequential(nn.Conv2D(3, 6, 4, 4), ChannelsFirstLayerNorm(6)),
                nn.Sequential(ChannelsFirstLayerNorm(6), nn.Conv2D(6, DIM, 2, 2)),
            ]
        )
        self.stages = nn.LayerList(
            [nn.Sequential(ConvNeXtBlock(6), ConvNeXtBlock(6)), nn.Sequential(ConvNeXtBlock(DIM))]
        )
        self.norm, self.head = nn.LayerNorm(DIM, epsilon=1e-6), nn.Linear(DIM, CLASSES)

    def forward(self, x: Any) -> Any:
        for i, stage in enumerate(self.stages):
            x = stage(self.downsample_layers[i](x))
        return self.head(self.norm(x.mean([-2, -1])))
