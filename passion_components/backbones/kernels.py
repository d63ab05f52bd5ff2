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
from passion_components.backbones.layouts import for_convolution, to_contiguous

NORM_EPS = 1e-5
SLOPE = 0.2


def normalise(x: Tensor) -> Tensor:
    """Instance normalisation without affine part (eps 1e-5), then LeakyReLU 0.2; contiguous.

    Equals ``F.leaky_relu(F.instance_norm(x), 0.2)``, but that a constant map becomes exactly 0.
    """
    # under autocast a CPU normalises bfloat16 with statistics in float32; elsewhere there is no kernel for this
    return _Normalise.apply(x if x.device.type == "cpu" else at_least_float32(x))


class _Normalise(torch.autograd.Function):
    """Keeps its result alone, from which the normalised map comes back by a LeakyReLU of slope 1 / 0.2.

    0 with gradient 0 where a map is constant, as on a slice with nothing in it: such a map becomes 0 whatever came
    before, so 0 is its exact gradient. Computed by the usual formula, rounding errors are multiplied by 1 / sqrt(eps)
    in every layer, forwards on some processors too, until they overflow.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        # one group per channel is the same as instance_norm, which takes four times as long on a CPU
        out, _, rstd = torch.native_group_norm(to_contiguous(x), *_affine(x), *_group_sizes(x), NORM_EPS)
        constant = rstd > 0.999 / math.sqrt(NORM_EPS)
        if x.device.type != "cpu" or constant.any():  # elsewhere asking would wait for the device
            out.masked_fill_(constant.view(*x.shape[:2], *[1] * (x.ndim - 2)), 0)
        F.leaky_relu_(out, SLOPE)
        ctx.was_contiguous = x.is_contiguous()
        ctx.save_for_backward(out, rstd.masked_fill(constant, 0))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out, rstd = ctx.saved_tensors
        grad = torch.ops.aten.leaky_relu_backward(grad, out, SLOPE, True).contiguous()
        normalised, mean, ones = F.leaky_relu(out, 1 / SLOPE), torch.zeros_like(rstd), torch.ones_like(rstd)
        backward = torch.ops.aten.native_group_norm_backward
        sizes = _group_sizes(out)
        grad = backward(grad, normalised, mean, ones, _affine(out)[0], *sizes, [True, False, False])[0]
        grad.mul_(rstd.view(*out.shape[:2], *[1] * (out.ndim - 2)))
        return grad if ctx.was_contiguous else for_convolution(grad)


def _affine(x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias that change nothing; given in float32, they let the statistics of bfloat16 be float32."""
    if x.dtype != torch.bfloat16:
        return None, None
    return torch.ones(x.shape[1]), torch.zeros(x.shape[1])


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
