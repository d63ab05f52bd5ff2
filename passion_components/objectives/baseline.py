"""The baseline for incomplete training data (Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from passion_components.backbones.base import MultiPathOutput
from passion_components.losses.prototypes import semantic_distance
from passion_components.losses.segmentation import SegmentationLoss, target_masks
from passion_components.objectives.base import Objective


class BaselineObjective(Objective):
    """(1/B) sum_n [L_seg,n + sum over present m of L_reg,nm] (Eq. 2).

    L_seg is the loss of the fused path with deep supervision, L_reg that of the final logits of a modality's own path.
    Terms: "segmentation" and "unimodal", whose sum is the loss.

    Args:
        class_weights: fixed weights of the cross-entropy, see SegmentationLoss.
    """

    def __init__(self, *, class_weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.segmentation_loss = SegmentationLoss(class_weights=class_weights)

    def forward(self, output: MultiPathOutput, target: Tensor, presence: Tensor) -> dict[str, Tensor]:
        masks = target_masks(target, output.fused.logits)
        segmentation = self.segmentation_loss.deep_supervision(output.fused, masks).mean()
        unimodal = self.unimodal_loss(output, masks)
        return {
            "loss": segmentation + unimodal,
            "segmentation": segmentation.detach(),
            "unimodal": unimodal.detach(),
            "distance": semantic_distance(output, masks),
        }

    def unimodal_loss(self, output: MultiPathOutput, masks: Tensor, weights: Tensor | None = None) -> Tensor:
        """(1/B) sum_n sum over present m of L_reg,nm, a scalar.

        Args:
            output: the paths of B samples and P pairs.
            masks: one-hot target (B, K, *S).
            weights: of the pairs, (P,); 1 by default.
        """
        per_pair = self.segmentation_loss.with_masks(output.unimodal.logits, masks.index_select(0, output.sample_index))
        return (per_pair if weights is None else per_pair * weights).sum() / len(masks)
