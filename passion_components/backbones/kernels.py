"""The operations that take a network's time, each written for speed.

What each equals in PyTorch's own, slower operations stands in its docstring; the tests compare the two, gradients too.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from passion_components.backbones.base import at_least_float32

NORM_EPS = 1e-5
SLOPE = 0.2


def convolve(conv: nn.Module, x: Tensor) -> Tensor:
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
    """Instance normalisation without affine part (eps 1e-5, at least float32), then LeakyReLU 0.2.

    Equals ``F.leaky_relu(F.instance_norm(x), 0.2)``, but that a constant map becomes exactly 0.
    """
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
    """A 1x1 convolution of ``parts`` concatenated along channels, as matrix products and without concatenating.

    Equals ``conv(torch.cat(parts, 1))``.
    """
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

    Equals ``F.pad(torch.cat(parts, 1), (1, 1) * n_axes, mode="reflect")``.

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

    Equals ``F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=True)``, or bilinear in 2D.

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
