"""Convolutional networks that multiply: MobileNetV3, GhostNet, ReXNet, StarNet."""

from __future__ import annotations

from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from .filling import CLASSES

# -- MobileNetV3 -----------------------------------------------------------------------------------


class ConvBN(nn.Layer):
    def __init__(
        self,
        inside: int,
        outside: int,
        size: int,
        stride: int = 1,
        groups: int = 1,
        act: Any = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2D(
            inside, outside, size, stride, size // 2, groups=groups, bias_attr=False
        )
        self.bn, self.act = (
            nn.BatchNorm(outside, dtype=paddle.get_default_dtype()),
            act() if act else None,
        )

    def forward(self, x: Any) -> Any:
        x = self.bn(self.conv(x))
        return self.act(x) if self.act else x


class SEModule(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool, self.relu = nn.AdaptiveAvgPool2D(1), nn.ReLU()
        self.conv1, self.conv2 = nn.Conv2D(channels, 4, 1), nn.Conv2D(4, channels, 1)

    def forward(self, x: Any) -> Any:
        y = self.conv2(self.relu(self.conv1(self.avg_pool(x))))
        return paddle.multiply(x=x, y=F.hardsigmoid(y, slope=0.2, offset=0.5))


class ResidualUnit(nn.Layer):
    def __init__(self, inside: int, outside: int, stride: int, gated: bool, act: Any) -> None:
        super().__init__()
        middle = 2 * inside
        self.joins = stride == 1 and inside == outside
        self.expand_conv = ConvBN(inside, middle, 1, act=act)
        self.bottleneck_conv = ConvBN(middle, middle, 3, stride, middle, act)
        self.mid_se = SEModule(middle) if gated else None
        self.linear_conv = ConvBN(middle, outside, 1)

    def forward(self, x: Any) -> Any:
        y = self.bottleneck_conv(self.expand_conv(x))
        y = self.linear_conv(self.mid_se(y) if self.mid_se else y)
        return paddle.add(x, y) if self.joins else y


class MobileNetV3(nn.Layer):
    """8 x 8, then 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvBN(3, 6, 3, 2, act=nn.Hardswish)
        self.blocks = nn.Sequential(
            ResidualUnit(6, 6, 2, True, nn.ReLU),
            ResidualUnit(6, 8, 2, False, nn.Hardswish),
            ResidualUnit(8, 8, 1, True, nn.Hardswish),
        )
        self.last_second_conv = ConvBN(8, 12, 1, act=nn.Hardswish)
        self.avg_pool, self.hardswish = nn.AdaptiveAvgPool2D(1), nn.Hardswish()
        self.last_conv = nn.Conv2D(12, 16, 1, bias_attr=False)
        self.dropout = nn.Dropout(p=0.2, mode="downscale_in_infer")
        self.flatten, self.fc = nn.Flatten(), nn.Linear(16, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.avg_pool(self.last_second_conv(self.blocks(self.conv(x))))
        return self.fc(self.flatten(self.dropout(self.hardswish(self.last_conv(x)))))


# -- GhostNet --------------------------------------------------------------------------------------


class FusedConvBN(nn.Layer):
    def __init__(
        self, inside: int, outside: int, size: int = 1, stride: int = 1, groups: int = 1,
        act: str | None = "relu",
    ) -> None:  # fmt: skip
        super().__init__()
        self._conv = nn.Conv2D(
            inside, outside, size, stride, size // 2, groups=groups, bias_attr=False
        )
        self._batch_norm = nn.BatchNorm(outside, act=act, dtype=paddle.get_default_dtype())

    def forward(self, x: Any) -> Any:
        return self._batch_norm(self._conv(x))


class SEBlock(nn.Layer):
    """Its gate is cut to [0, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool2d_gap = nn.AdaptiveAvgPool2D(1)
        self.squeeze, self.excitation = nn.Linear(channels, 4), nn.Linear(4, channels)

    def forward(self, x: Any) -> Any:
        pool = paddle.squeeze(self.pool2d_gap(x), axis=[2, 3])
        gate = self.excitation(F.relu(self.squeeze(pool)))
        return paddle.multiply(x, paddle.unsqueeze(paddle.clip(x=gate, min=0, max=1), axis=[2, 3]))


class GhostModule(nn.Layer):
    def __init__(self, inside: int, outside: int, act: str | None = "relu") -> None:
        super().__init__()
        self.primary_conv = FusedConvBN(inside, outside // 2, act=act)
        self.cheap_operation = FusedConvBN(outside // 2, outside // 2, 3, 1, outside // 2, act)

    def forward(self, x: Any) -> Any:
        x = self.primary_conv(x)
        return paddle.concat([x, self.cheap_operation(x)], axis=1)


class GhostBottleneck(nn.Layer):
    def __init__(self, inside: int, outside: int, stride: int, gated: bool) -> None:
        super().__init__()
        middle = 2 * inside
        self.ghost_module_1 = GhostModule(inside, middle)
        self.depthwise = FusedConvBN(middle, middle, 3, 2, middle, None) if stride == 2 else None
        self.se_block = SEBlock(middle) if gated else None
        self.ghost_module_2 = GhostModule(middle, outside, None)
        self.shortcut = None
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                FusedConvBN(inside, inside, 3, stride, inside, None),
                FusedConvBN(inside, outside, act=None),
            )

    def forward(self, x: Any) -> Any:
        y = self.ghost_module_1(x)
        for part in (self.depthwise, self.se_block):
            y = part(y) if part is not None else y
        return paddle.add(x=self.ghost_module_2(y), y=self.shortcut(x) if self.shortcut else x)


class GhostNet(nn.Layer):
    """16 x 16, 8 x 8, 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = FusedConvBN(3, 6, 3, 2)
        self.bottlenecks = nn.Sequential(
            GhostBottleneck(6, 6, 1, False),
            GhostBottleneck(6, 8, 2, True),
            GhostBottleneck(8, 8, 1, True),
            GhostBottleneck(8, 10, 2, False),
        )
        self.conv_last, self.pool2d_gap = FusedConvBN(10, 12), nn.AdaptiveAvgPool2D(1)
        self.fc_0, self.dropout, self.fc_1 = (
            FusedConvBN(12, 16),
            nn.Dropout(0.2),
            nn.Linear(16, CLASSES),
        )

    def forward(self, x: Any) -> Any:
        x = self.pool2d_gap(self.conv_last(self.bottlenecks(self.conv1(x))))
        return self.fc_1(paddle.reshape(self.dropout(self.fc_0(x)), shape=[-1, 16]))


# -- ReXNet ----------------------------------------------------------------------------------------


def conv_bn(inside: int, outside: int, size: int = 1, stride: int = 1, groups: int = 1) -> Any:
    conv = nn.Conv2D(inside, outside, size, stride, size // 2, groups=groups, bias_attr=False)
    return conv, nn.BatchNorm2D(outside)


class SE(nn.Layer):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.fc = nn.Sequential(
            nn.Conv2D(channels, 4, 1), nn.BatchNorm2D(4), nn.ReLU(), nn.Conv2D(4, channels, 1),
            nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        return x * self.fc(self.avg_pool(x))


class LinearBottleneck(nn.Layer):
    """The block's input is added in place to the first of its output's channels."""

    def __init__(self, inside: int, outside: int, stride: int, wider: int, gated: bool) -> None:
        super().__init__()
        self.joins, self.inside = stride == 1 and inside <= outside, inside
        middle = inside * wider
        self.out = nn.Sequential(
            *((*conv_bn(inside, middle), nn.Swish()) if wider > 1 else ()),
            *conv_bn(middle, middle, 3, stride, middle),
            *((SE(middle),) if gated else ()),
            nn.ReLU6(),
            *conv_bn(middle, outside),
        )

    def forward(self, x: Any) -> Any:
        out = self.out(x)
        if self.joins:
            out[:, 0 : self.inside] += x
        return out


class ReXNetV1(nn.Layer):
    """16 x 16, 8 x 8, 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv_bn(3, 6, 3, 2),
            nn.Swish(),
            LinearBottleneck(6, 4, 1, 1, False),
            LinearBottleneck(4, 6, 2, 2, False),
            LinearBottleneck(6, 8, 1, 2, True),
            LinearBottleneck(8, 9, 2, 2, True),
            LinearBottleneck(9, 11, 1, 2, True),
            *conv_bn(11, 16),
            nn.Swish(),
            nn.AdaptiveAvgPool2D(1),
        )
        self.output = nn.Sequential(nn.Dropout(0.2), nn.Conv2D(16, CLASSES, 1))

    def forward(self, x: Any) -> Any:
        return self.output(self.features(x)).squeeze(axis=-1).squeeze(axis=-1)


# -- StarNet ---------------------------------------------------------------------------------------


def star_conv(
    inside: int, outside: int, size: int = 1, stride: int = 1, groups: int = 1, norm: bool = True
) -> Any:
    conv = nn.Conv2D(inside, outside, size, stride, size // 2, groups=groups)
    return nn.Sequential(conv, nn.BatchNorm2D(outside)) if norm else conv


class StarBlock(nn.Layer):
    """The star operation: a product of two dense layers' outputs at each place."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = star_conv(dim, dim, 7, groups=dim)
        self.f1, self.f2 = (star_conv(dim, 2 * dim, norm=False) for _ in range(2))
        self.g, self.act = star_conv(2 * dim, dim), nn.ReLU6()
        self.dwconv2 = star_conv(dim, dim, 7, groups=dim, norm=False)
        self.drop_path = nn.Identity()

    def forward(self, x: Any) -> Any:
        y = self.dwconv(x)
        y = self.act(self.f1(y)) * self.f2(y)
        return x + self.drop_path(self.dwconv2(self.g(y)))


class StarNet(nn.Layer):
    """8 x 8, then 4 x 4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(star_conv(3, 6, 3, 2), nn.ReLU6())
        self.stages = nn.LayerList(
            [
                nn.Sequential(star_conv(6, 6, 3, 2), StarBlock(6), StarBlock(6)),
                nn.Sequential(star_conv(6, 12, 3, 2), StarBlock(12)),
            ]
        )
        self.norm, self.avgpool = nn.BatchNorm2D(12), nn.AdaptiveAvgPool2D(1)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(paddle.flatten(x=self.avgpool(self.norm(x)), start_axis=1))
