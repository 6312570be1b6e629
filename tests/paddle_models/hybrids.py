"""Transformers that convolve: PVTv2, MobileViT, CSWin."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from .filling import CLASSES
from .transformers import DIM, HEADS, Mlp

# -- PVTv2 -----------------------------------------------------------------------------------------


def as_map(x: Any, side: int) -> Any:
    """[N, T, C] -> [N, C, side, side]."""
    return x.transpose([0, 2, 1]).reshape([x.shape[0], x.shape[2], side, side])


def as_tokens(x: Any) -> Any:
    return x.flatten(2).transpose([0, 2, 1])


class ConvolvingMlp(nn.Layer):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.dwconv = nn.Conv2D(2 * dim, 2 * dim, 3, 1, 1, groups=2 * dim)
        self.act, self.drop = nn.GELU(), nn.Dropout(0.1)

    def forward(self, x: Any, side: int) -> Any:
        x = as_tokens(self.dwconv(as_map(self.fc1(x), side)))
        return self.drop(self.fc2(self.drop(self.act(x))))


class ReducedAttention(nn.Layer):
    """Keys and values come from fewer places than queries, where `ratio` is above 1."""

    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.scale, self.ratio = (dim // HEADS) ** -0.5, ratio
        self.q, self.kv, self.proj = (nn.Linear(dim, k * dim) for k in (1, 2, 1))
        self.attn_drop = nn.Dropout(0.1)
        if ratio > 1:
            self.sr, self.norm = nn.Conv2D(dim, dim, ratio, ratio), nn.LayerNorm(dim)

    def forward(self, x: Any, side: int) -> Any:
        n, tokens, dim = x.shape
        q = self.q(x).reshape([n, tokens, HEADS, dim // HEADS]).transpose([0, 2, 1, 3])
        if self.ratio > 1:
            x = self.norm(as_tokens(self.sr(as_map(x, side))))
        kv = self.kv(x).reshape([n, -1, 2, HEADS, dim // HEADS]).transpose([2, 0, 3, 1, 4])
        attn = (q @ kv[0].transpose([0, 1, 3, 2])) * self.scale
        attn = self.attn_drop(F.softmax(attn, axis=-1))
        return self.proj((attn @ kv[1]).transpose([0, 2, 1, 3]).reshape([n, tokens, dim]))


class PVTBlock(nn.Layer):
    def __init__(self, dim: int, ratio: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, epsilon=1e-6), ReducedAttention(dim, ratio)
        self.norm2, self.mlp = nn.LayerNorm(dim, epsilon=1e-6), ConvolvingMlp(dim)

    def forward(self, x: Any, side: int) -> Any:
        x = x + self.attn(self.norm1(x), side)
        return x + self.mlp(self.norm2(x), side)


class OverlapPatchEmbed(nn.Layer):
    def __init__(self, inside: int, dim: int, size: int, stride: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2D(inside, dim, size, stride, size // 2), nn.LayerNorm(dim)

    def forward(self, x: Any) -> tuple[Any, int]:
        x = self.proj(x)
        return self.norm(as_tokens(x)), x.shape[-1]


class PyramidVisionTransformerV2(nn.Layer):
    """8 x 8 tokens, then 4 x 4; no other tokens."""

    def __init__(self) -> None:
        super().__init__()
        for i, (inside, dim, size, stride, ratio) in enumerate(
            [(3, 8, 7, 4, 4), (8, DIM, 3, 2, 1)], start=1
        ):
            setattr(self, f"patch_embed{i}", OverlapPatchEmbed(inside, dim, size, stride))
            setattr(self, f"block{i}", nn.LayerList([PVTBlock(dim, ratio) for _ in range(2)]))
            setattr(self, f"norm{i}", nn.LayerNorm(dim, epsilon=1e-6))
        self.head = nn.Linear(DIM, CLASSES)

    def forward(self, x: Any) -> Any:
        for i in (1, 2):
            x, side = getattr(self, f"patch_embed{i}")(x)
            for block in getattr(self, f"block{i}"):
                x = block(x, side)
            x = getattr(self, f"norm{i}")(x)
            if i == 1:
                x = x.reshape([x.shape[0], side, side, x.shape[2]]).transpose([0, 3, 1, 2])
        return self.head(x.mean(axis=1))


# -- MobileViT -------------------------------------------------------------------------------------


class ConvBnAct(nn.Layer):
    def __init__(
        self, inside: int, outside: int, size: int = 3, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            inside, outside, size, stride, size // 2, groups=groups, bias_attr=False
        )
        self.norm, self.act = nn.BatchNorm2D(outside), nn.Silu()

    def forward(self, x: Any) -> Any:
        return self.act(self.norm(self.conv(x)))


class MobileV2Block(nn.Layer):
    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.joins = stride == 1 and inside == outside
        self.conv = nn.Sequential(
            ConvBnAct(inside, 2 * inside, 1),
            ConvBnAct(2 * inside, 2 * inside, 3, stride, 2 * inside),
            nn.Conv2D(2 * inside, outside, 1, bias_attr=False),
            nn.BatchNorm2D(outside),
        )

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.joins else self.conv(x)


class PatchesAttention(nn.Layer):
    """Query, key and value in the axis of the heads' numbers."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scales, self.qkv = (dim // HEADS) ** -0.5, nn.Linear(dim, 3 * dim)
        self.proj, self.softmax = nn.Linear(dim, dim), nn.Softmax(axis=-1)
        self.attn_dropout = nn.Dropout(0.1)

    def forward(self, x: Any) -> Any:
        n, patches, dim = x.shape
        qkv = self.qkv(x).reshape([n, patches, 3, HEADS, dim // HEADS]).transpose([0, 3, 2, 1, 4])
        query, key, value = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        attn = paddle.matmul(query * self.scales, key.transpose([0, 1, 3, 2]))
        attn = self.attn_dropout(self.softmax(attn))
        return self.proj(paddle.matmul(attn, value).transpose([0, 2, 1, 3]).reshape(x.shape))


class EncoderLayer(nn.Layer):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attn_norm, self.attn = nn.LayerNorm(dim), PatchesAttention(dim)
        self.mlp_norm, self.mlp = nn.LayerNorm(dim), Mlp(dim, nn.Silu)

    def forward(self, x: Any) -> Any:
        x = x + self.attn(self.attn_norm(x))
        return x + self.mlp(self.mlp_norm(x))


class MobileViTBlock(nn.Layer):
    """Attention among pixels of the same place in patches of 2 x 2, which are in the batch axis."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = ConvBnAct(dim, dim), nn.Conv2D(dim, hidden, 1, bias_attr=False)
        self.transformer = nn.Sequential(EncoderLayer(hidden), nn.LayerNorm(hidden, epsilon=1e-6))
        self.conv3, self.conv4 = ConvBnAct(hidden, dim, 1), ConvBnAct(2 * dim, dim)

    def forward(self, x: Any) -> Any:
        before, x = x, self.conv2(self.conv1(x))
        _, channels, h, w = x.shape
        whole = [h + h % 2, w + w % 2]
        if whole != [h, w]:
            x = F.interpolate(x, size=whole, mode="bilinear")
        patches = whole[0] * whole[1] // 4
        x = x.reshape([-1, 2, whole[1] // 2, 2]).transpose([0, 2, 1, 3])
        x = x.reshape([-1, channels, patches, 4]).transpose([0, 3, 2, 1])
        x = self.transformer(x.reshape([-1, patches, channels]))
        x = x.reshape([-1, 4, patches, channels]).transpose([0, 3, 2, 1])
        x = x.reshape([-1, whole[1] // 2, 2, 2]).transpose([0, 2, 1, 3])
        x = x.reshape([-1, channels, *whole])
        if whole != [h, w]:
            x = F.interpolate(x, size=[h, w])
        return self.conv4(paddle.concat((before, self.conv3(x)), axis=1))


class MobileViT(nn.Layer):
    """8 x 8, then 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3x3 = ConvBnAct(3, 4, 3, 2)
        self.mv2_block_1, self.mv2_block_2 = MobileV2Block(4, 6, 2), MobileV2Block(6, 6)
        self.mvit_block_1, self.mv2_block_3 = MobileViTBlock(6, 8), MobileV2Block(6, 8, 2)
        self.mvit_block_2, self.conv1x1 = MobileViTBlock(8, DIM), ConvBnAct(8, 16, 1)
        self.pool, self.dropout = nn.AdaptiveAvgPool2D(1), nn.Dropout(0.1)
        self.linear = nn.Linear(16, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.mv2_block_2(self.mv2_block_1(self.conv3x3(x)))
        x = self.mvit_block_2(self.mv2_block_3(self.mvit_block_1(x)))
        x = self.pool(self.conv1x1(x))
        return self.linear(self.dropout(x.reshape(x.shape[:2])))


# -- CSWin -----------------------------------------------------------------------------------------


class LePEAttention(nn.Layer):
    """Attention within stripes of h x w; a depthwise convolution of the values tells positions."""

    def __init__(self, dim: int, side: int, h: int, w: int, heads: int) -> None:
        super().__init__()
        self.side, self.h, self.w, self.heads, self.head = side, h, w, heads, dim // heads
        self.get_v = nn.Conv2D(dim, dim, 3, 1, 1, groups=dim)
        self.softmax, self.attn_dropout = nn.Softmax(axis=-1), nn.Dropout(0.1)

    def stripes(self, x: Any, order: list[int]) -> Any:
        n, _, dim = x.shape
        x = as_map(x, self.side)
        x = x.reshape([n, dim, self.side // self.h, self.h, self.side // self.w, self.w])
        return x.transpose(order)

    def tokens(self, x: Any) -> Any:
        x = self.stripes(x, [0, 2, 4, 3, 5, 1])
        x = x.reshape([-1, self.h * self.w, self.heads, self.head])
        return x.transpose([0, 2, 1, 3])

    def values(self, x: Any) -> tuple[Any, ...]:
        dim = x.shape[-1]
        x = self.stripes(x, [0, 2, 4, 1, 3, 5]).reshape([-1, dim, self.h, self.w])
        shape = [-1, self.heads, self.head, self.h * self.w]
        return tuple(y.reshape(shape).transpose([0, 1, 3, 2]) for y in (x, self.get_v(x)))

    def forward(self, q: Any, k: Any, v: Any) -> Any:
        n, tokens, dim = q.shape
        q, k = self.tokens(q), self.tokens(k)
        v, positions = self.values(v)
        attn = paddle.matmul(q * self.head**-0.5, k, transpose_y=True)
        z = paddle.matmul(self.attn_dropout(self.softmax(attn)), v) + positions
        z = z.transpose([0, 2, 1, 3])
        z = z.reshape([n, self.side // self.h, self.side // self.w, self.h, self.w, dim])
        return z.transpose([0, 1, 3, 2, 4, 5]).reshape([n, tokens, dim])


class CSwinBlock(nn.Layer):
    """One half of the heads attends within columns of a width, the other within rows; or all
    attend to all.
    """

    def __init__(self, dim: int, side: int, split: int | None) -> None:
        super().__init__()
        self.norm1, self.qkv = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim)
        sizes = [(side, split), (split, side)] if split else [(side, side)]
        self.attns = nn.LayerList(
            [LePEAttention(dim // len(sizes), side, *size, HEADS // len(sizes)) for size in sizes]
        )
        self.proj, self.norm2, self.mlp = nn.Linear(dim, dim), nn.LayerNorm(dim), Mlp(dim)

    def forward(self, x: Any) -> Any:
        branches = len(self.attns)
        qkv = [part.chunk(branches, axis=-1) for part in self.qkv(self.norm1(x)).chunk(3, axis=-1)]
        parts = [attn(*(part[i] for part in qkv)) for i, attn in enumerate(self.attns)]
        x = x + self.proj(paddle.concat(parts, axis=2) if branches > 1 else parts[0])
        return x + self.mlp(self.norm2(x))


class MergeBlock(nn.Layer):
    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.side, self.conv = side, nn.Conv2D(dim, 2 * dim, 3, 2, 1)
        self.norm = nn.LayerNorm(2 * dim)

    def forward(self, x: Any) -> Any:
        return self.norm(as_tokens(self.conv(as_map(x, self.side))))


class CSwinTransformer(nn.Layer):
    """8 x 8 tokens in stripes of width 2, then 4 x 4 tokens, all of which attend to all."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed, self.norm0 = nn.Conv2D(3, 8, 7, 4, 2), nn.LayerNorm(8)
        self.stages = nn.LayerList(
            [nn.Sequential(CSwinBlock(8, 8, 2), MergeBlock(8, 8)), CSwinBlock(16, 4, None)]
        )
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.norm0(as_tokens(self.patch_embed(x)))
        for stage in self.stages:
            x = stage(x)
        return self.head(paddle.mean(self.norm(x), axis=1))
