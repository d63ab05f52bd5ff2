"""The objective of PASSION (Eq. 14)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from passion_components.backbones.base import MultiPathOutput
from passion_components.losses.distillation import MultiUniDistillationLoss
from passion_components.losses.prototypes import semantic_distance, semantic_gap
from passion_components.losses.segmentation import target_masks
from passion_components.objectives.baseline import BaselineObjective
from passion_components.preference import RelativePreference, relative_preference


class PassionObjective(BaselineObjective):
    """(1/B) sum_n [L_seg,n + sum over present m of (lambda1 beta_m L_pixel,nm + lambda2 delta_nm L_proto,nm)] (Eq. 14).

    delta_nm is 1 where the relative preference of the sample's modality is negative, else 0 (Eq. 11). Terms:
    "segmentation", "pixel" and "semantic"; the loss is their sum, the latter two times lambda1 and lambda2.
    During the warm-up, and with both distillation terms off, the objective is Eq. 2.

    Args:
        preference: holds beta; whoever ends an epoch updates it, as long as ``updates_preference``.
        lambda1: weight of the pixel-wise term.
        lambda2: weight of the semantic-wise term.
        temperature: of the pixel-wise term.
        pixel: pixel-wise distillation (Table 2 of the paper, as the next three).
        semantic: semantic-wise distillation.
        delta: False sets every delta to 1.
        beta: False sets every beta to 1.
        unimodal: True keeps the supervision of every uni-modal path, the second sum of Eq. 2, which Eq. 14 leaves out;
            "neglected" keeps it where the sample's modality is neglected, as Eq. 11 does the semantic term. The term is
            "unimodal".
        temperature_squared: see MultiUniDistillationLoss, as the next one.
        teacher_first: direction of the pixel-wise term.
        distillation_warmup: epochs of Eq. 2 at first, with beta as it is.
        class_weights: fixed weights of the cross-entropy, see SegmentationLoss.

    Raises:
        ValueError: a negative lambda or warm-up, a temperature of 0 or below, another ``unimodal``.
    """

    def __init__(
        self,
        *,
        preference: RelativePreference,
        lambda1: float = 0.5,
        lambda2: float = 0.1,
        temperature: float = 4.0,
        pixel: bool = True,
        semantic: bool = True,
        delta: bool = True,
        beta: bool = True,
        unimodal: bool | str = False,
        temperature_squared: bool = False,
        teacher_first: bool = False,
        distillation_warmup: int = 0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__(class_weights=class_weights)
        for name, value in (("lambda1", lambda1), ("lambda2", lambda2), ("distillation_warmup", distillation_warmup)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if unimodal not in (False, True, "neglected"):
            raise ValueError(f"unimodal must be True, False or 'neglected', got {unimodal!r}")
        self.preference = preference
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.distillation_loss = MultiUniDistillationLoss(
            temperature, temperature_squared=temperature_squared, teacher_first=teacher_first
        )
        self.pixel = pixel
        self.semantic = semantic
        self.delta = delta
        self.beta = beta
        self.unimodal = unimodal
        self.distillation_warmup = distillation_warmup
        self._moved_beta: tuple[Tensor, Tensor] | None = None

    def extra_repr(self) -> str:
        return (
            f"lambda1={self.lambda1}, lambda2={self.lambda2}, gamma={self.preference.gamma}, pixel={self.pixel}, "
            f"semantic={self.semantic}, delta={self.delta}, beta={self.beta}, "
            f"unimodal={self.unimodal}, warmup={self.distillation_warmup}"
        )

    @property
    def distils(self) -> bool:
        """Whether this epoch's loss is Eq. 14 rather than Eq. 2."""
        return (self.pixel or self.semantic) and self.epoch > self.distillation_warmup

    @property
    def updates_preference(self) -> bool:
        return self.distils and self.beta

    def forward(self, output: MultiPathOutput, target: Tensor, presence: Tensor) -> dict[str, Tensor]:
        if not self.distils:
            return super().forward(output, target, presence)
        masks = target_masks(target, output.fused.logits)
        gap, distance = semantic_gap(output, masks) if self.semantic else (None, semantic_distance(output, masks))
        neglected = (relative_preference(distance, output.sample_index, len(masks)) < 0).to(distance.dtype)
        loss = self.segmentation_loss.deep_supervision(output.fused, masks).mean()
        result = {"segmentation": loss.detach()}
        if self.unimodal:
            term = self.unimodal_loss(output, masks, neglected if self.unimodal == "neglected" else None)
            loss = loss + term
            result["unimodal"] = term.detach()
        if self.pixel:
            per_pair = self.distillation_loss.pixel(output)
            if self.beta:
                per_pair = self._device_beta(per_pair).index_select(0, output.modality_index) * per_pair
            term = per_pair.sum() / len(masks)
            loss = loss + self.lambda1 * term
            result["pixel"] = term.detach()
        if gap is not None:
            term = (gap * neglected if self.delta else gap).sum() / len(masks)
            loss = loss + self.lambda2 * term
            result["semantic"] = term.detach()
        return {"loss": loss, **result, "distance": distance}

    def _device_beta(self, like: Tensor) -> Tensor:
        """Beta beside ``like``, copied there only after it has changed: a copy waits for the device."""
        source = self.preference.beta
        if self._moved_beta is None or self._moved_beta[0] is not source or self._moved_beta[1].device != like.device:
            self._moved_beta = (source, source.to(like.device))
        return self._moved_beta[1]
