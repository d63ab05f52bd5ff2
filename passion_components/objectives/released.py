"""The objective of the released PASSION code, which is not that of the paper (docs/method.md tells where)."""

from __future__ import annotations

import torch
from torch import Tensor

from passion_components.backbones.base import MultiPathOutput
from passion_components.losses.prototypes import map_difference
from passion_components.losses.released import (
    deep_weights,
    divergence,
    full_size_probabilities,
    segmentation_term,
    semantic_terms,
)
from passion_components.losses.segmentation import target_masks
from passion_components.objectives.base import Objective
from passion_components.preference import ReleasedPreference, relative_preference


class ReleasedObjective(Objective):
    """Sums over the batch: L_seg, and per modality r beta W L_sep + lambda1 beta W L_kl + lambda2 r W L_proto.

    W = 1 / (1 - missing rate), constant; L_sep is the loss of the separate uni-modal decoder, which the network must
    have. r is 1 where the modality lies further from the fused path than the mean, summed over the batch. Terms:
    "segmentation", "separate", "pixel", "semantic", weighted by beta, W and r, not by the lambdas.

    Args:
        preference: holds beta and W.
        lambda1: weight of the pixel-wise term.
        lambda2: weight of the semantic-wise term.
        temperature: of the pixel-wise term.

    Raises:
        ValueError: a negative lambda or a temperature of 0 or below; at the call, a network without separate decoder.
    """

    def __init__(
        self,
        *,
        preference: ReleasedPreference,
        lambda1: float = 0.5,
        lambda2: float = 0.1,
        temperature: float = 4.0,
    ) -> None:
        super().__init__()
        if not (lambda1 >= 0 and lambda2 >= 0 and temperature > 0):
            raise ValueError(
                f"expected lambdas of at least 0 and a temperature above 0, got {lambda1}, {lambda2}, {temperature}"
            )
        self.preference = preference
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.temperature = temperature

    def extra_repr(self) -> str:
        return f"lambda1={self.lambda1}, lambda2={self.lambda2}, temperature={self.temperature}"

    @property
    def updates_preference(self) -> bool:
        return True

    def forward(self, output: MultiPathOutput, target: Tensor, presence: Tensor) -> dict[str, Tensor]:
        if output.separate_logits is None:
            raise ValueError("this objective needs the separate decoder; build the network with separate_decoder=True")
        masks = target_masks(target, output.fused.logits)
        pair_masks = masks.index_select(0, output.sample_index)
        segmentation = torch.stack(
            [
                weight * segmentation_term(probabilities, masks).sum()
                for weight, probabilities in zip(
                    deep_weights(output.fused), full_size_probabilities(output.fused), strict=True
                )
            ]
        ).sum()
        everywhere = (masks.flatten(2).sum(2) > 0).all(0).to(masks.dtype)
        proto, distance = semantic_terms(map_difference(output, masks), everywhere)
        separate = segmentation_term(output.separate_logits.softmax(1), pair_masks)
        beta, size = (x.to(proto)[output.modality_index] for x in (self.preference.beta, self.preference.size_weight))
        neglected = self._neglected(distance, output, masks.shape[0])
        terms = {
            "separate": (neglected * beta * size * separate).sum(),
            "pixel": (beta * size * self._pixel(output)).sum(),
            "semantic": (neglected * size * proto).sum(),
        }
        loss = segmentation + terms["separate"] + self.lambda1 * terms["pixel"] + self.lambda2 * terms["semantic"]
        detached = {name: term.detach() for name, term in terms.items()}
        return {"loss": loss, "segmentation": segmentation.detach(), **detached, "distance": distance}

    def _pixel(self, output: MultiPathOutput) -> Tensor:
        with torch.no_grad():
            teachers = [p[output.sample_index] for p in full_size_probabilities(output.teacher, self.temperature)]
        students = full_size_probabilities(output.unimodal, self.temperature)
        levels = zip(deep_weights(output.fused), students, teachers, strict=True)
        return torch.stack([weight * divergence(s, t, self.temperature) for weight, s, t in levels]).sum(0)

    @staticmethod
    def _neglected(distance: Tensor, output: MultiPathOutput, n_samples: int) -> Tensor:
        """r (P,): 1 where the modality's relative preference, summed over the batch, is negative."""
        rp = relative_preference(distance, output.sample_index, n_samples)
        same = output.modality_index[:, None] == output.modality_index
        return ((same * rp).sum(1) < 0).to(distance.dtype)
