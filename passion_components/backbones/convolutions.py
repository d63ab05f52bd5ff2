"""Convolutions of 3 voxels an axis with a border of one voxel: few copies, and no padded map kept for the gradient.

What each function equals in PyTorch's own operations stands in its docstring; the tests compare the two, gradients too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from passion_components.backbones.layouts import convolution_layout, for_convolution, to_contiguous

VECTOR = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
"""Numbers that this processor computes at a time: fewer channels leave a part of it idle."""

SMALL = 20480
"""Elements, those of the last axis counted once, up to which PyTorch has a slow kernel for a batch of one volume."""

KEPT = 2**20
"""Elements up to which a padded map is kept for the gradient: it costs more time to make again than memory to keep."""


def bordered_convolution(conv: nn.Module, *parts: Tensor, reflect: bool) -> Tensor:
    """``conv`` of ``parts`` concatenated along channels, with one voxel around it on each side of every spatial axis.

    Equals ``conv(F.pad(torch.cat(parts, 1), (1, 1) * n_axes, mode="reflect"))``, or zeros around it. Under autocast it
    runs in the type of autocast.

    Args:
        conv: a convolution with kernels of 3 voxels an axis, without padding of its own.
        parts: maps (B, C_i, *S).
        reflect: whether the border reflects the map or is 0.

    Raises:
        ValueError: reflected borders of a spatial axis shorter than 2.
    """
    if reflect and min(parts[0].shape[2:]) < 2:
        raise ValueError(f"reflected borders need sizes of at least 2, got {tuple(parts[0].shape[2:])}")
    return _BorderedConvolution.apply(conv.weight, conv.bias, conv.stride[0], reflect, *parts)


class _BorderedConvolution(torch.autograd.Function):
    """Keeps ``parts``, which other gradients need anyway; a large padded map is made once more in the backward pass."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, stride: int, reflect: bool, *parts: Tensor) -> Tensor:
        ctx.stride, ctx.reflect, ctx.dtype = stride, reflect, _computed_in(parts[0])
        ctx.channels = [part.shape[1] for part in parts]
        x = padded(parts, reflect=reflect, dtype=ctx.dtype)
        ctx.is_kept = x.numel() <= KEPT
        ctx.save_for_backward(weight, *((x,) if ctx.is_kept else parts))
        return convolve(x, weight.to(ctx.dtype), bias.to(ctx.dtype), stride)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *kept = ctx.saved_tensors
        x = kept[0] if ctx.is_kept else padded(kept, reflect=ctx.reflect, dtype=ctx.dtype)
        wanted = [any(ctx.needs_input_grad[4:]), *ctx.needs_input_grad[:2]]
        grad = for_convolution(grad.to(ctx.dtype))
        of_x, of_weight, of_bias = convolve_backward(grad, x, weight.to(ctx.dtype), ctx.stride, wanted)
        of_parts: Sequence[Tensor | None] = [None] * len(ctx.channels)
        if of_x is not None:
            of_parts = _without_border(of_x, ctx.reflect).split(ctx.channels, dim=1)
        return of_weight, of_bias, None, None, *of_parts


def _computed_in(x: Tensor) -> torch.dtype:
    device = x.device.type
    if x.dtype != torch.float64 and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


def padded(parts: Sequence[Tensor], *, reflect: bool, dtype: torch.dtype) -> Tensor:
    """``parts`` concatenated along channels, with a border of one voxel, laid out for convolutions."""
    channels = [part.shape[1] for part in parts]
    first = parts[0]
    x = torch.empty(
        (len(first), sum(channels), *(size + 2 for size in first.shape[2:])),
        dtype=dtype,
        device=first.device,
        memory_format=convolution_layout(first),
    )
    for target, part in zip(_inside(x).split(channels, dim=1), parts, strict=True):
        target.copy_(part)
    for axis in range(2, x.ndim):  # plane by plane takes a tenth of the time of F.pad, which goes voxel by voxel
        for border, mirrored in ((0, 2), (-1, -3)):
            if reflect:
                x.select(axis, border).copy_(x.select(axis, mirrored))
            else:
                x.select(axis, border).zero_()
    return x


def _without_border(grad: Tensor, reflect: bool) -> Tensor:
    """The gradient of what :func:`padded` surrounds with a border, from that of its result, which may be changed."""
    grad = to_contiguous(grad)
    for axis in range(grad.ndim - 1, 1, -1) if reflect else ():
        grad.select(axis, 2).add_(grad.select(axis, 0))
        grad.select(axis, -3).add_(grad.select(axis, -1))
    return _inside(grad)


def _inside(x: Tensor) -> Tensor:
    """``x`` without the outermost voxels of its spatial axes."""
    for axis in range(2, x.ndim):
        x = x.narrow(axis, 1, x.shape[axis] - 2)
    return x


def convolve(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """Convolution without padding of kernels of 3 voxels an axis, by the fastest of PyTorch's kernels.

    Few channels go two voxels at a time. One small volume goes as a batch of two overlapping halves: alone, PyTorch
    would send it to a kernel that is ten times slower. Equals ``F.conv2d`` and ``F.conv3d``.
    """
    if _is_small(x):
        halves = _Halves(x.shape[2], stride)
        first, second = convolve(halves.of_input(x), weight, bias, stride).split(1)
        return torch.cat([first, second[:, :, halves.shared :]], 2)
    if _by_two(x, weight.shape[0], stride):
        return _apart(_convolution(_together(x), _weight_of_two(weight), bias.repeat(2), 1))
    return _convolution(x, weight, bias, stride)


def convolve_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of :func:`convolve` with respect to ``x``, weight and bias, None where they are not wanted."""
    if _is_small(x):
        halves = _Halves(x.shape[2], stride)
        of_halves, *rest = convolve_backward(halves.of_grad(grad), halves.of_input(x), weight, stride, wanted)
        return None if of_halves is None else halves.sum(of_halves), rest[0], rest[1]
    # channels of the result: of the map's gradient, then of the convolution
    by_two = [_by_two(x, channels, stride) for channels in (weight.shape[1], weight.shape[0])]
    if by_two[0] == by_two[1]:
        return _gradients(grad, x, weight, stride, wanted, by_two=by_two[0])
    of_x = of_weight = of_bias = None
    if wanted[0]:
        of_x, *_ = _gradients(grad, x, weight, stride, (True, False, False), by_two=by_two[0])
    if any(wanted[1:]):
        _, of_weight, of_bias = _gradients(grad, x, weight, stride, (False, *wanted[1:]), by_two=by_two[1])
    return of_x, of_weight, of_bias


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: Sequence[bool], *, by_two: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """As :func:`convolve_backward`, one or two voxels at a time."""
    if not by_two:
        return _convolution_backward(grad, x, weight, stride, wanted)
    pairs = _together(grad), _together(x), _weight_of_two(weight)
    of_x, of_weight, of_bias = _convolution_backward(*pairs, 1, wanted)
    return (
        None if of_x is None else _apart(of_x),
        None if of_weight is None else _weight_of_one(of_weight),
        None if of_bias is None else of_bias.unflatten(0, (2, -1)).sum(0),
    )


def _convolution(x: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return (F.conv2d if x.ndim == 4 else F.conv3d)(x, weight, bias, stride)


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    dims = x.ndim - 2
    sizes = [len(weight)], [stride] * dims, [0] * dims, [1] * dims, False, [0] * dims, 1
    return torch.ops.aten.convolution_backward(grad, x, weight, *sizes, wanted)


def _by_two(x: Tensor, channels: int, stride: int) -> bool:
    """Whether a result of so many channels is made faster with two voxels at a time."""
    return x.device.type == "cpu" and stride == 1 and channels < VECTOR and x.shape[-1] % 2 == 0


def _together(x: Tensor) -> Tensor:
    """(B, 2C, *S, W / 2) from a map (B, C, *S, W): neighbours along the last axis as one voxel.

    Copies nothing where channels are last in memory, nor does its inverse.
    """
    return x.movedim(1, -1).unflatten(-2, (-1, 2)).flatten(-2).movedim(-1, 1)


def _apart(x: Tensor) -> Tensor:
    """The inverse of :func:`_together`."""
    return x.movedim(1, -1).unflatten(-1, (2, -1)).flatten(-3, -2).movedim(-1, 1)


def _weight_of_two(weight: Tensor) -> Tensor:
    """(2O, 2I, *k, 2) from a weight (O, I, *k, 3).

    Pair p of the result, voxels 2p and 2p + 1, is made of voxels 2p to 2p + 3 of the map, which are pairs p and p + 1.
    """
    of_both = torch.stack([F.pad(weight, (0, 1)), F.pad(weight, (1, 0))])
    return of_both.unflatten(-1, (2, 2)).movedim(-1, 2).flatten(2, 3).flatten(0, 1)


def _weight_of_one(grad: Tensor) -> Tensor:
    """The gradient of a weight from that of :func:`_weight_of_two`."""
    of_both = grad.unflatten(0, (2, -1)).unflatten(2, (2, -1)).movedim(2, -1).flatten(-2)
    return of_both[0, ..., :-1] + of_both[1, ..., 1:]


def _is_small(x: Tensor) -> bool:
    """Whether PyTorch has a slow kernel for it."""
    one_volume = x.device.type == "cpu" and x.ndim == 5 and len(x) == 1
    return one_volume and x.dtype != torch.bfloat16 and x[..., 0].numel() <= SMALL


class _Halves:
    """One padded volume as two halves along its first axis that share what both need.

    Attributes:
        shared: planes that both halves of the result have, 0 or 1.
    """

    def __init__(self, size: int, stride: int) -> None:
        self.size = size
        self.planes = (size - 3) // stride + 1
        self.half = (self.planes + 1) // 2
        self.shared = 2 * self.half - self.planes
        self.thickness = (self.half - 1) * stride + 3
        self.starts = (0, (self.planes - self.half) * stride)

    def of_input(self, x: Tensor) -> Tensor:
        """(2, C, thickness, *S) from (1, C, size, *S)."""
        return torch.cat([x.narrow(2, start, self.thickness) for start in self.starts])

    def of_grad(self, grad: Tensor) -> Tensor:
        """(2, O, half, *S) from (1, O, planes, *S); what both halves have counts in the first one."""
        halves = torch.cat([grad[:, :, : self.half], grad[:, :, self.planes - self.half :]])
        halves[1, :, : self.shared] = 0
        return halves

    def sum(self, halves: Tensor) -> Tensor:
        """(1, C, size, *S), to which the two halves (2, C, thickness, *S) add up."""
        total = halves.new_zeros(1, halves.shape[1], self.size, *halves.shape[3:])
        for half, start in zip(halves, self.starts, strict=True):
            total[0].narrow(1, start, self.thickness).add_(half)
        return total
