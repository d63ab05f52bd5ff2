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
        temperature: by which logits are divided, above 0.
        temperature_squared: multiply the pixel-wise loss by the temperature's square, so that its gradient does not
            fade as the temperature rises (Hinton et al. 2015); Eq. 3 does not.
        teacher_first: KL(teacher || student), as the released code has it, in place of Eq. 3's KL(student || teacher).

    Raises:
        ValueError: a temperature of 0 or below; at the call, a target that does not fit.
    """

    def __init__(
        self, temperature: float = 4.0, *, temperature_squared: bool = False, teacher_first: bool = False
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.temperature_squared = temperature_squared
        self.teacher_first = teacher_first

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature}, temperature_squared={self.temperature_squared}, "
            f"teacher_first={self.teacher_first}"
        )

    def forward(self, output: MultiPathOutput, target: Tensor) -> DistillationTerms:
        """All terms of a batch, for an integer target (B, 1, *S)."""
        semantic, distance = semantic_gap(output, target_masks(target, output.fused.logits))
        return DistillationTerms(self.pixel(output), semantic, distance)

    def pixel(self, output: MultiPathOutput) -> Tensor:
        """The pixel-wise term alone, (P,); it needs no target."""
        loss = self._divergence(output.unimodal.logits, output.teacher.logits, output.sample_index)
        for (student, _), (teacher, _) in zip(output.unimodal.deep, output.teacher.deep, strict=True):
            loss = loss + self._divergence(student, teacher, output.sample_index)
        return loss * self.temperature**2 if self.temperature_squared else loss

    def _divergence(self, student: Tensor, teacher: Tensor, sample_index: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_log = (at_least_float32(teacher) / self.temperature).log_softmax(1).index_select(0, sample_index)
        student_log = (at_least_float32(student) / self.temperature).log_softmax(1)
        difference = student_log - teacher_log
        pointwise = -teacher_log.exp() * difference if self.teacher_first else student_log.exp() * difference
        return pointwise.flatten(2).sum(1).mean(1)
