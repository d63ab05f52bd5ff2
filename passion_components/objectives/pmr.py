"""Prototypical modal rebalance (Fan et al., CVPR 2023), reconstructed for segmentation and many modalities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from passion_components.backbones.base import MultiPathOutput
from passion_components.losses.prototype_classification import true_class_log_probabilities
from passion_components.losses.segmentation import target_masks
from passion_components.objectives.baseline import BaselineObjective
from passion_components.preference import mean_of_sample


class PMRObjective(BaselineObjective):
    """Eq. 2 plus lambda_pmr / B times the sum over present modalities of coefficient_nm L_pce,nm.

    L_pce is the cross-entropy of classifying every voxel by its distance to the sample's class prototypes, on the last
    map of the modality's own path, mean over voxels. A modality's strength is the mean probability of the true class in
    that classification; coefficient_nm = clip(mean strength of the sample's modalities / its own strength - 1, 0, 1),
    without gradient, so that only slow modalities are pushed. This is our reconstruction: the method was published for
    the classification of two modalities, and the comparison in the PASSION paper without code. Terms: those of the
    baseline and "prototypical".

    Args:
        lambda_pmr: weight of the prototypical term, not negative.
        class_weights: fixed weights of the cross-entropy, see SegmentationLoss.

    Raises:
        ValueError: a negative weight.
    """

    def __init__(self, *, lambda_pmr: float = 0.1, class_weights: Sequence[float] | None = None) -> None:
        super().__init__(class_weights=class_weights)
        if not lambda_pmr >= 0:
            raise ValueError(f"lambda_pmr must not be negative, got {lambda_pmr}")
        self.lambda_pmr = lambda_pmr

    def extra_repr(self) -> str:
        return f"lambda_pmr={self.lambda_pmr}"

    def forward(self, output: MultiPathOutput, target: Tensor, presence: Tensor) -> dict[str, Tensor]:
        result = super().forward(output, target, presence)
        masks = target_masks(target, output.fused.logits).index_select(0, output.sample_index)
        log_p = true_class_log_probabilities(output.unimodal.embedding, masks)
        slow = slowness(log_p.detach().exp().mean(1), output.sample_index, len(target))
        term = (slow * -log_p.mean(1)).sum() / len(target)
        return result | {"loss": result["loss"] + self.lambda_pmr * term, "prototypical": term.detach()}


def slowness(strength: Tensor, sample_index: Tensor, n_samples: int) -> Tensor:
    """clip(mean strength of the pair's sample / strength - 1, 0, 1), (P,), of strengths (P,) in (0, 1]."""
    return (mean_of_sample(strength, sample_index, n_samples) / strength - 1).clamp(0, 1)
