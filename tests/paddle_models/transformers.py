"""Vision transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from .filling import CLASSES

DIM, HEADS = 12, 2


class Mlp(nn.Layer):
    def __init__(self, dim: int = DIM, act: Any = nn.GELU) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(dim, 2 * dim), act(), nn.Linear(2 * dim, dim)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Any) -> Any:
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class Attention(nn.Layer):
    def __init__(self, dim: int = DIM, heads: int = HEADS) -> None:
        super().__init__()
        self.num_heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.1)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.1)

    def biased(self, attn: Any, mask: Any) -> Any:
        return attn

    def forward(self, x: Any, mask: Any = None) -> Any:
        tokens, dim = x.shape[1:]
        qkv = self.qkv(x).reshape((-1, tokens, 3, self.num_heads, dim // self.num_heads))
        q, k, v = qkv.transpose((2, 0, 3, 1, 4))
        attn = q.matmul(k.transpose((0, 1, 3, 2))) * self.scale
        attn = self.attn_drop(F.softmax(self.biased(attn, mask), axis=-1))
        x = attn.matmul(v).transpose((0, 2, 1, 3)).reshape((-1, tokens, dim))
        return self.proj_drop(self.proj(x))


class Block(nn.Layer):
    def __init__(self, dim: int = DIM) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, epsilon=1e-6), Attention(dim)
        self.drop_path = nn.Identity()
        self.norm2, self.mlp = nn.LayerNorm(dim, epsilon=1e-6), Mlp(dim)

    def forward(self, x: Any) -> Any:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Layer):
    def __init__(self, size: int, dim: int = DIM) -> None:
        super().__init__()
        self.proj = nn.Conv2D(3, dim, size, size)

    def forward(self, x: Any) -> Any:
        return self.proj(x).flatten(2).transpose((0, 2, 1))


# -- ViT and DeiT ----------------------------------------------------------------------------------


class VisionTransformer(nn.Layer):
    """A class token, 4 x 4 patches, positions."""

    prefix = 1

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(8)
        self.cls_token = self.create_parameter((1, 1, DIM))
        self.pos_embed = self.create_parameter((1, 16 + self.prefix, DIM))
        self.pos_drop = nn.Dropout(0.1)
        self.blocks = nn.LayerList([Block() for _ in range(2)])
        self.norm = nn.LayerNorm(DIM, epsilon=1e-6)
        self.head = nn.Linear(DIM, CLASSES)

    def prefixes(self) -> list[Any]:
        return [self.cls_token]

    def forward_features(self, x: Any) -> Any:
        n = x.shape[0]
        x = self.patch_embed(x)
        first = [token.expand((n, -1, -1)).astype(x.dtype) for token in self.prefixes()]
        x = self.pos_drop(paddle.concat((*first, x), axis=1) + self.pos_embed)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, x: Any) -> Any:
        return self.head(self.forward_features(x)[:, 0])


class DistilledVisionTransformer(VisionTransformer):
    """DeiT: a second token before the patches, and a second head."""

    prefix = 2

    def __init__(self) -> None:
        super().__init__()
        self.dist_token = self.create_parameter((1, 1, DIM))
        self.head_dist = nn.Linear(DIM, CLASSES)

    def prefixes(self) -> list[Any]:
        return [self.cls_token, self.dist_token]

    def forward(self, x: Any) -> Any:
        x = self.forward_features(x)
        return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2


# -- Swin ------------------------------------------------------------------------------------------


def windows_of(x: Any, size: int) -> Any:
    """[N, H, W, C] -> [windows, size * size, C]."""
    n, h, w, c = x.shape
    x = x.reshape((n, h // size, size, w // size, size, c))
    return x.transpose((0, 1, 3, 2, 4, 5)).reshape((-1, size * size, c))


def from_windows(x: Any, size: int, h: int, w: int) -> Any:
    x = x.reshape((-1, h // size, w // size, size, size, x.shape[-1]))
    return x.transpose((0, 1, 3, 2, 4, 5)).reshape((-1, h, w, x.shape[-1]))


class WindowAttention(Attention):
    def __init__(self, dim: int, window: int) -> None:
        super().__init__(dim)
        self.relative_position_bias_table = self.create_parameter(((2 * window - 1) ** 2, HEADS))
        at = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(
            2, -1
        )
        apart = at[:, :, None] - at[:, None] + window - 1
        index = apart[0] * (2 * window - 1) + apart[1]
        self.register_buffer("relative_position_index", paddle.to_tensor(index))

    def biased(self, attn: Any, mask: Any) -> Any:
        index = self.relative_position_index.astype("int64").flatten()
        tokens = attn.shape[-1]
        bias = paddle.index_select(self.relative_position_bias_table, index)
        attn = attn + bias.reshape((tokens, tokens, -1)).transpose((2, 0, 1)).unsqueeze(0)
        if mask is None:
            return attn
        mask = mask.unsqueeze(1).unsqueeze(0)
        attn = attn.reshape((-1, mask.shape[1], self.num_heads, tokens, tokens)) + mask
        return attn.reshape((-1, self.num_heads, tokens, tokens))


class SwinTransformerBlock(nn.Layer):
    def __init__(self, dim: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.side, self.window, self.shift = side, window, shift
        self.norm1, self.attn = nn.LayerNorm(dim), WindowAttention(dim, window)
        self.norm2, self.mlp = nn.LayerNorm(dim), Mlp(dim)
        mask = None
        if shift:
            cuts = np.digitize(np.arange(side), [side - window, side - shift])
            area = paddle.to_tensor((3 * cuts[:, None] + cuts)[None, :, :, None])
            area = windows_of(area, window).squeeze(-1).numpy()
            apart = area[:, None] != area[:, :, None]
            mask = paddle.to_tensor(-100.0 * apart, dtype=paddle.get_default_dtype())
        self.register_buffer("attn_mask", mask)

    def forward(self, x: Any) -> Any:
        n, tokens, dim = x.shape
        y = self.norm1(x).reshape((n, self.side, self.side, dim))
        if self.shift:
            y = paddle.roll(y, shifts=(-self.shift, -self.shift), axis=(1, 2))
        y = self.attn(windows_of(y, self.window), self.attn_mask)
        y = from_windows(y, self.window, self.side, self.side)
        if self.shift:
            y = paddle.roll(y, shifts=(self.shift, self.shift), axis=(1, 2))
        x = x + y.reshape((n, tokens, dim))
        return x + self.mlp(self.norm2(x))


class PatchMerging(nn.Layer):
    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.norm, self.reduction = (
            nn.LayerNorm(4 * dim),
            nn.Linear(4 * dim, 2 * dim, bias_attr=False),
        )

    def forward(self, x: Any) -> Any:
        n, _, dim = x.shape
        x = x.reshape((n, self.side, self.side, dim))
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(paddle.concat(quarters, -1).reshape((n, -1, 4 * dim))))


class BasicLayer(nn.Layer):
    def __init__(self, dim: int, side: int, window: int, depth: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.LayerList(
            [
                SwinTransformerBlock(dim, side, window, window // 2 if i % 2 else 0)
                for i in range(depth)
            ]
        )
        self.downsample = PatchMerging(dim, side) if merges else None

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class SwinTransformer(nn.Layer):
    """8 x 8 patches in windows of 4 x 4, the second block's shifted; merged to 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(4)
        self.layers = nn.LayerList(
            [BasicLayer(DIM, 8, 4, 2, merges=True), BasicLayer(2 * DIM, 4, 4, 1, merges=False)]
        )
        self.norm, self.avgpool = nn.LayerNorm(2 * DIM), nn.AdaptiveAvgPool1D(1)
        self.head = nn.Linear(2 * DIM, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.patch_embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.avgpool(self.norm(x).transpose((0, 2, 1))).flatten(1))
