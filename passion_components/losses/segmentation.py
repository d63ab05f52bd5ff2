"""Segmentation loss (Eq. 1): class-weighted cross-entropy plus Dice, with deep supervision; one value per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from passion_components.backbones.base import PathOutput, at_least_float32

DICE_EPSILON = 1e-7


def target_masks(target: Tensor, logits: Tensor) -> Tensor:
    """One-hot masks of the target, as floats, for logits of the same batch.

    Args:
        target: integer class indices (B, 1, *S) below K.
        logits: (B, K, *S).

    Returns:
        (B, K, *S), on the device of the logits and of their type, at least float32.

    Raises:
        ValueError: a target of floats, or of another shape.
    """
    expected = (logits.shape[0], 1, *logits.shape[2:])
    if target.shape != expected or target.is_floating_point():
        raise ValueError(f"target must hold integers of shape {expected}, got {target.dtype} {tuple(target.shape)}")
    index = target.as_subclass(Tensor).long()
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return torch.zeros(logits.shape, dtype=dtype, device=logits.device).scatter_(1, index, 1.0)


def weighted_cross_entropy(log_probabilities: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    """Mean over all voxels of -w_k log p_k at the true class k; not divided by the sum of weights.

    Args:
        log_probabilities: (N, K, *S).
        masks: one-hot target (N, K, *S).
        weights: (N, K) or (K,).

    Returns:
        (N,).
    """
    per_class = (masks * log_probabilities).flatten(2).mean(2)
    return -(weights * per_class).sum(1)


def dice_loss(probabilities: Tensor, masks: Tensor) -> Tensor:
    """1 - (1/K) sum_k 2 sum_i p t / (sum_i p + sum_i t), background included, for p and t (N, K, *S); returns (N,)."""
    overlap = (probabilities * masks).flatten(2).sum(2)
    size = probabilities.flatten(2).sum(2) + masks.flatten(2).sum(2)
    return 1 - (2 * overlap / (size + DICE_EPSILON)).mean(1)


def enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, K, *size) from (N, K, *S), by (tri)linear interpolation with aligned corners."""
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    return functional.interpolate(x, size=tuple(size), mode=mode, align_corners=True)


class SegmentationLoss(nn.Module):
    """Class-weighted cross-entropy plus Dice of every sample on its own.

    The weight of class k is 1 - V_k / V of the sample's own crop, V_k of whose V voxels belong to k. On a crop of
    background alone all of these weights act on nothing: a data set with such crops fixes its weights instead.

    Args:
        class_weights: K fixed weights instead; a tensor or an array too.

    Raises:
        ValueError: negative weights; at the call, a number of weights other than K, or a target that does not fit.
    """

    def __init__(self, *, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))
        if self.class_weights is not None and not (self.class_weights and min(self.class_weights) >= 0):
            raise ValueError(f"class_weights must be non-negative numbers, one per class, got {class_weights}")
        self._fixed: Tensor | None = None

    def extra_repr(self) -> str:
        return f"class_weights={self.class_weights}"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss (B,) of logits (B, K, *S) for an integer target (B, 1, *S)."""
        return self.with_masks(logits, target_masks(target, logits))

    def with_masks(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Loss (N,) of logits (N, K, *S) for a target that is one-hot already."""
        log_probabilities = at_least_float32(logits).log_softmax(1)
        cross_entropy = weighted_cross_entropy(log_probabilities, masks, self._weights(masks))
        return cross_entropy + dice_loss(log_probabilities.exp(), masks)

    def deep_supervision(self, output: PathOutput, masks: Tensor) -> Tensor:
        """L_seg (N,): the final logits and every deep level, upsampled to their size, with weight 1 each."""
        loss = self.with_masks(output.logits, masks)
        for logits, _ in output.deep:
            loss = loss + self.with_masks(enlarged(at_least_float32(logits), masks.shape[2:]), masks)
        return loss

    def _weights(self, masks: Tensor) -> Tensor:
        if self.class_weights is None:
            return 1 - masks.flatten(2).mean(2)
        if len(self.class_weights) != masks.shape[1]:
            raise ValueError(f"expected {masks.shape[1]} class_weights, one per class, got {len(self.class_weights)}")
        if self._fixed is None or self._fixed.device != masks.device or self._fixed.dtype != masks.dtype:
            self._fixed = torch.tensor(self.class_weights, dtype=masks.dtype, device=masks.device)
        return self._fixed
