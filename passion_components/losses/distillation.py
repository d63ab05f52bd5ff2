"""Multi-uni self-distillation (Eq. 3-8): the fused path teaches each present modality's own path."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from passion_components.backbones.base import MultiPathOutput, at_least_float32
from passion_components.losses.prototypes import semantic_gap
from passion_components.losses.segmentation import target_masks


@dataclass
class DistillationTerms:
    """What distillation says about each of the P present (sample, modality) pairs.

    Attributes:
        pixel: (P,), Eq. 3.
        semantic: (P,), Eq. 8.
        distance: (P,), Eq. 7, without gradient.
    """

    pixel: Tensor
    semantic: Tensor
    distance: Tensor


class MultiUniDistillationLoss(nn.Module):
    """Distance of each uni-modal path (student) from the fused path (teacher) of the same sample.

    Pixel-wise: KL(student || teacher) of class probabilities softened by the temperature, summed over classes, mean
    over voxels, summed over the final logits and every deep level at its own resolution. Semantic-wise: see
    :func:`passion_components.losses.prototypes.semantic_gap`. No gradient reaches the teacher.

    Args:
        temperature: by which logits are divided, above 0. The loss is not multiplied by its square.

    Raises:
        ValueError: a temperature of 0 or below; at the call, a target that does not fit.
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"

    def forward(self, output: MultiPathOutput, target: Tensor) -> DistillationTerms:
        """All terms of a batch, for an integer target (B, 1, *S)."""
        semantic, distance = semantic_gap(output, target_masks(target, output.fused.logits))
        return DistillationTerms(self.pixel(output), semantic, distance)

    def pixel(self, output: MultiPathOutput) -> Tensor:
        """The pixel-wise term alone, (P,); it needs no target."""
        loss = self._divergence(output.unimodal.logits, output.fused.logits, output.sample_index)
        for (student, _), (teacher, _) in zip(output.unimodal.deep, output.fused.deep, strict=True):
            loss = loss + self._divergence(student, teacher, output.sample_index)
        return loss

    def _divergence(self, student: Tensor, teacher: Tensor, sample_index: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_log = (at_least_float32(teacher) / self.temperature).log_softmax(1).index_select(0, sample_index)
        student_log = (at_least_float32(student) / self.temperature).log_softmax(1)
        return (student_log.exp() * (student_log - teacher_log)).flatten(2).sum(1).mean(1)
