"""Building blocks that the backbones share; every one of them serves 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from passion_components.backbones.base import at_least_float32

NORM_EPS = 1e-5
SLOPE = 0.2


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
        if self.borders == "zeros":
            return _convolve(self.conv, F.pad(torch.cat(parts, 1), (1, 1) * (parts[0].ndim - 2)))
        return _convolve(self.conv, reflect_pad(*parts))


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


def _convolve(conv: nn.Module, x: Tensor) -> Tensor:
    """``conv(x)``; one volume on a CPU goes through it as a batch of two overlapping halves.

    PyTorch sends a batch of one small volume to a kernel that is ten times slower than the one for batches.
    """
    if len(x) > 1 or x.ndim != 5 or x.device.type != "cpu":
        return conv(x)
    stride = conv.stride[0]
    planes = (x.shape[2] - 3) // stride + 1
    half = (planes + 1) // 2
    thickness = (half - 1) * stride + 3
    starts = (0, (planes - half) * stride)
    first, second = conv(torch.cat([x.narrow(2, start, thickness) for start in starts])).split(1)
    return torch.cat([first, second.narrow(2, 2 * half - planes, planes - half)], 2)


def normalise(x: Tensor) -> Tensor:
    """Instance normalisation without affine part (eps 1e-5, at least float32), then LeakyReLU 0.2."""
    return F.leaky_relu_(_InstanceNorm.apply(at_least_float32(x).contiguous()), SLOPE)


class _InstanceNorm(torch.autograd.Function):
    """Instance normalisation, 0 with gradient 0 where a map is constant, as on a slice with nothing in it.

    A constant map becomes 0 whatever came before, so 0 is its exact gradient. Computed by the usual formula, rounding
    errors are multiplied by 1 / sqrt(eps) in every layer, forwards on some processors too, until they overflow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        # one group per channel is the same as instance_norm, which takes four times as long on a CPU
        out, mean, rstd = torch.native_group_norm(x, None, None, *_group_sizes(x), NORM_EPS)
        constant = rstd > 0.999 / math.sqrt(NORM_EPS)
        if x.device.type != "cpu" or constant.any():  # elsewhere asking would wait for the device
            out.masked_fill_(constant.view(*x.shape[:2], *[1] * (x.ndim - 2)), 0)
        ctx.save_for_backward(x, mean, rstd.masked_fill(constant, 0))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        x, mean, rstd = ctx.saved_tensors
        backward = torch.ops.aten.native_group_norm_backward
        return backward(grad.contiguous(), x, mean, rstd, None, *_group_sizes(x), [True, False, False])[0]


def _group_sizes(x: Tensor) -> tuple[int, int, int, int]:
    """Samples, channels, voxels and groups (one a channel), as torch's normalisation wants to be told."""
    samples, channels, *sizes = x.shape
    return samples, channels, math.prod(sizes), channels


def pointwise(conv: nn.Module, *parts: Tensor) -> Tensor:
    """A 1x1 convolution of ``parts`` concatenated along channels, as matrix products and without concatenating."""
    batch, _, *sizes = parts[0].shape
    weights = conv.weight.flatten(1).split([part.shape[1] for part in parts], dim=1)
    out = conv.bias[None, :, None]
    for weight, part in zip(weights, parts, strict=True):
        out = torch.baddbmm(out, weight.expand(batch, -1, -1), part.flatten(2))
    return out.unflatten(2, sizes)


def logits(conv: nn.Module, *parts: Tensor) -> Tensor:
    """A 1x1 convolution computed in float32 (float64 stays), whatever autocast says."""
    with torch.autocast(parts[0].device.type, enabled=False):
        return pointwise(conv, *(at_least_float32(part) for part in parts))


def reflect_pad(*parts: Tensor) -> Tensor:
    """``parts`` concatenated along channels, with one reflected voxel on each side of every spatial axis.

    Raises:
        ValueError: a spatial axis shorter than 2.
    """
    if min(parts[0].shape[2:]) < 2:
        raise ValueError(f"reflected borders need sizes of at least 2, got {tuple(parts[0].shape[2:])}")
    return _ReflectPad.apply(*parts)


class _ReflectPad(torch.autograd.Function):
    """F.pad(mode="reflect") copies voxel by voxel; plane by plane takes a tenth of the time, backwards too."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.channels = [part.shape[1] for part in parts]
        sizes = parts[0].shape[2:]
        out = torch.empty(
            (len(parts[0]), sum(ctx.channels), *(size + 2 for size in sizes)),
            dtype=parts[0].dtype,
            device=parts[0].device,
            memory_format=_layout(parts[0]),
        )
        for target, part in zip(_inside(out).split(ctx.channels, dim=1), parts, strict=True):
            target.copy_(part)
        for axis in range(2, out.ndim):
            out.select(axis, 0).copy_(out.select(axis, 2))
            out.select(axis, -1).copy_(out.select(axis, -3))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        for axis in range(grad.ndim - 1, 1, -1):
            grad.select(axis, 2).add_(grad.select(axis, 0))
            grad.select(axis, -3).add_(grad.select(axis, -1))
        return _inside(grad).split(ctx.channels, dim=1)


def _inside(x: Tensor) -> Tensor:
    """``x`` without the outermost voxels of its spatial axes."""
    for axis in range(2, x.ndim):
        x = x.narrow(axis, 1, x.shape[axis] - 2)
    return x


def _layout(x: Tensor) -> torch.memory_format:
    """The memory format in which convolutions of few channels are fastest on the device of ``x``."""
    if x.device.type != "cpu":
        return torch.contiguous_format
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d


def upsample2(x: Tensor) -> Tensor:
    """Twice the resolution by (tri)linear interpolation with aligned corners: (B, C, *S) to (B, C, *2S).

    Interpolation is linear in each axis, hence one matrix product per axis. Its gradient, unlike that of
    ``F.interpolate``, is deterministic on CUDA and ten times faster on a CPU.
    """
    x = x @ _interpolation(x.shape[-1], x.dtype, x.device).t()
    for axis in range(x.ndim - 2, 1, -1):
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        x = (_interpolation(x.shape[axis], x.dtype, x.device) @ x.flatten(axis + 1)).view(*before, -1, *after)
    return x


@lru_cache(maxsize=64)
def _interpolation(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Matrix (2 size, size) of linear interpolation with aligned corners."""
    with torch.inference_mode(False):
        position = torch.arange(2 * size, dtype=torch.float64) * ((size - 1) / (2 * size - 1))
        distance = (position[:, None] - torch.arange(size)).abs()
        return (1 - distance).clamp(min=0).to(device, dtype)


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
