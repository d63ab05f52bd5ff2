"""The contract of a training objective."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from passion_components.backbones.base import MultiPathOutput


class Objective(nn.Module, ABC):
    """What training minimises, from all paths of a batch.

    Attributes:
        epoch: the current epoch, counted from 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Tell the objective which epoch begins, counted from 1."""
        self.epoch = epoch

    @property
    def updates_preference(self) -> bool:
        """Whether this epoch's relative preference moves beta; it is logged in any case."""
        return False

    @abstractmethod
    def forward(self, output: MultiPathOutput, target: Tensor, presence: Tensor) -> dict[str, Tensor]:
        """Loss of a batch, without waiting for the device.

        Args:
            output: the fused paths of B samples and the uni-modal paths of P pairs.
            target: integer class indices (B, 1, *S).
            presence: bool (B, M), from which the pairs of ``output`` were made.

        Returns:
            "loss", a scalar; its terms by name, scalars without gradient; "distance" (P,), D of Eq. 7 without gradient.

        Raises:
            ValueError: a target that does not fit the logits.
        """
