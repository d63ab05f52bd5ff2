"""Memory layouts: convolutions of few channels are fastest with channels last on a CPU, everything else without."""

from __future__ import annotations

import torch
from torch import Tensor

NARROW = 32
"""Channels up to which a product with the identity is the fastest way to reorder memory."""


def convolution_layout(x: Tensor) -> torch.memory_format:
    """The memory format in which convolutions are fastest on the device of ``x``, (B, C, *S)."""
    if x.device.type != "cpu":
        return torch.contiguous_format
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d


def to_contiguous(x: Tensor) -> Tensor:
    """``x.contiguous()`` of a map (B, C, *S) that may have its channels last."""
    if x.is_contiguous() or not _is_narrow(x) or not x.is_contiguous(memory_format=convolution_layout(x)):
        return x.contiguous()
    voxels = x.movedim(1, -1).flatten(1, -2)
    return torch.bmm(_identity(x), voxels.transpose(1, 2)).view(x.shape)


def for_convolution(x: Tensor) -> Tensor:
    """A map (B, C, *S) in the layout of :func:`convolution_layout`."""
    layout = convolution_layout(x)
    if x.is_contiguous(memory_format=layout) or not _is_narrow(x) or not x.is_contiguous():
        return x.contiguous(memory_format=layout)
    return torch.bmm(x.flatten(2).transpose(1, 2), _identity(x)).unflatten(1, x.shape[2:]).movedim(-1, 1)


def _is_narrow(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.shape[1] <= NARROW


def _identity(x: Tensor) -> Tensor:
    return torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
