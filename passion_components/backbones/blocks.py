"""Building blocks that the backbones share; every one of them serves 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from passion_components.backbones.convolutions import bordered_convolution
from passion_components.backbones.kernels import logits, normalise, pointwise, upsample2


def convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    *,
    padding: int = 0,
    groups: int = 1,
) -> Any:
    """A convolution with bias, zeros around it where ``padding`` is given, weights drawn as in the published networks.

    Weights are Kaiming-normal (fan-in, gain sqrt 2), those of 1x1 heads too; biases keep PyTorch's default.
    """
    conv = Conv[Conv.CONV, spatial_dims](
        in_channels, out_channels, kernel_size=kernel_size, stride=stride, padding=padding, groups=groups
    )
    nn.init.kaiming_normal_(conv.weight)
    return conv


class BorderedConv(nn.Module):
    """A convolution that keeps the size, with reflected borders or zeros around the image.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of all inputs together.
        out_channels: channels of the output.
        kernel_size: 1 or 3.
        stride: 1, or 2 to halve the resolution.
        borders: ``reflect`` or ``zeros``.

    Raises:
        ValueError: another kernel size or other borders.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        borders: str = "reflect",
    ) -> None:
        super().__init__()
        if kernel_size not in (1, 3):
            raise ValueError(f"kernel_size must be 1 or 3, got {kernel_size}")
        if borders not in ("reflect", "zeros"):
            raise ValueError(f"borders must be 'reflect' or 'zeros', got {borders!r}")
        self.borders = borders
        self.conv = convolution(spatial_dims, in_channels, out_channels, kernel_size, stride)

    def forward(self, *parts: Tensor) -> Tensor:
        """(B, out_channels, *S / stride) from tensors (B, C_i, *S) that are read as if concatenated along channels."""
        if self.conv.kernel_size[0] == 1:
            return pointwise(self.conv, *parts)
        return bordered_convolution(self.conv, *parts, reflect=self.borders == "reflect")


class Post(BorderedConv):
    """Convolution, then instance normalisation without affine part, then LeakyReLU 0.2.

    The bias has no effect, since the normalisation removes it; it is there because the published weights have it.
    """

    def forward(self, *parts: Tensor) -> Tensor:
        """As :meth:`BorderedConv.forward`."""
        return normalise(super().forward(*parts))


class Pre(BorderedConv):
    """Instance normalisation without affine part and LeakyReLU 0.2 of what comes in, then the convolution."""

    def forward(self, *parts: Tensor) -> Tensor:
        """As :meth:`BorderedConv.forward`."""
        return super().forward(*(normalise(part) for part in parts))


class ResidualEncoder(nn.Module):
    """Encoder of one modality: per level an entry block and a residual pair of blocks.

    Args:
        spatial_dims: 2 or 3.
        width: channels of the first level; every further level has twice as many at half the resolution.
        n_levels: number of levels.
        block: kind of the blocks.
        first: kind of the very first one, which sees the image.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        width: int,
        n_levels: int,
        block: type[BorderedConv] = Post,
        first: type[BorderedConv] = Post,
    ) -> None:
        super().__init__()
        channels = [1] + [width * 2**level for level in range(n_levels)]

        def level_of(level: int) -> nn.ModuleList:
            before, here = channels[level : level + 2]
            entry = block if level else first
            return nn.ModuleList(
                [
                    entry(spatial_dims=spatial_dims, in_channels=before, out_channels=here, stride=1 + (level > 0)),
                    block(spatial_dims=spatial_dims, in_channels=here, out_channels=here),
                    block(spatial_dims=spatial_dims, in_channels=here, out_channels=here),
                ]
            )

        self.levels = nn.ModuleList(level_of(level) for level in range(n_levels))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Level l has shape (n, width * 2^l, *S / 2^l), for images (n, 1, *S)."""
        maps = []
        for entry, first, second in self.levels:
            x = entry(x)
            x = x + second(first(x))
            maps.append(x)
        return tuple(maps)


class DecoderStep(nn.Module):
    """The three blocks that bring a decoder from one level to the next finer one.

    Args:
        spatial_dims: 2 or 3.
        channels: C of the finer level; the coarser one has 2C.
        block: kind of the blocks.
    """

    def __init__(self, *, spatial_dims: int, channels: int, block: type[BorderedConv] = Post) -> None:
        super().__init__()
        self.enter = block(spatial_dims=spatial_dims, in_channels=2 * channels, out_channels=channels)
        self.merge = block(spatial_dims=spatial_dims, in_channels=2 * channels, out_channels=channels)
        self.leave = block(spatial_dims=spatial_dims, in_channels=channels, out_channels=channels, kernel_size=1)

    def up(self, coarser: Tensor) -> Tensor:
        """(B, C, *2S) from the map (B, 2C, *S) of the coarser level."""
        return self.enter(upsample2(coarser))

    def join(self, *parts: Tensor) -> Tensor:
        """(B, C, *S) from maps of this level that have 2C channels together; the order is that of the weights."""
        return self.leave(self.merge(*parts))


class UnimodalDecoder(nn.Module):
    """The separate decoder of the published networks: one for all modalities, fed with one encoder's levels.

    Args:
        spatial_dims: 2 or 3.
        width: channels of the finest level.
        n_levels: number of levels, at least 2.
        n_classes: K.
        block: kind of the blocks.
    """

    def __init__(
        self, *, spatial_dims: int, width: int, n_levels: int, n_classes: int, block: type[BorderedConv] = Post
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            DecoderStep(spatial_dims=spatial_dims, channels=width * 2**level, block=block)
            for level in range(n_levels - 1)
        )
        self.head = convolution(spatial_dims, width, n_classes)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Logits (R, K, *S), at least float32, from encoder levels, finest first; what follows them is not read."""
        levels = levels[: len(self.steps) + 1]
        x = levels[-1]
        for step, skip in zip(reversed(self.steps), reversed(levels[:-1]), strict=True):
            x = step.join(step.up(x), skip)
        return logits(self.head, x)


def uniform_bias(size: Sequence[int], fan_in: int) -> nn.Parameter:
    """Biases as PyTorch draws them for a layer of that fan-in."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(*size).uniform_(-bound, bound))
