"""Relative preference: which modalities the fused path favours, and what follows for their training (Eq. 9-13)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

BETA_RANGE = (0.1, 4.0)
GAMMA_GROWTH, GAMMA_EPOCHS = 1.5, 100


def relative_preference(distance: Tensor, sample_index: Tensor, n_samples: int) -> Tensor:
    """RP_nm = 1 - D_nm / mean of D_n over the sample's present modalities (Eq. 9, 10).

    Positive where a modality is preferred, negative where it is neglected; the sum over a sample's modalities is 0.
    It is 0 where a sample has one modality, and where its mean distance is 0.

    Args:
        distance: D of P (sample, modality) pairs, (P,), not negative.
        sample_index: the sample of each pair, int64 (P,).
        n_samples: number of samples B; every sample has a pair.

    Returns:
        (P,).
    """
    mean = mean_of_sample(distance, sample_index, n_samples)
    return torch.where(mean > 0, 1 - distance / torch.where(mean > 0, mean, 1), 0)


def mean_of_sample(values: Tensor, sample_index: Tensor, n_samples: int) -> Tensor:
    """For each of P pairs the mean of ``values`` (P,) over the pairs of its sample, (P,)."""
    # masked sums rather than index_add, whose order of addition varies on a GPU: delta hangs on the sign
    member = torch.arange(n_samples, device=sample_index.device)[:, None] == sample_index
    return ((member * values).sum(1) / member.sum(1)).index_select(0, sample_index)


class RelativePreference:
    """The weight beta of each modality's pixel-wise distillation, moved once an epoch by its relative preference.

    Args:
        modalities: names of the M modalities, in the data set's order.
        missing_rates: share of training cases without a modality, by name, in [0, 1).
        gamma: by how much a mean relative preference of 1 lowers beta.

    Attributes:
        beta: float32 (M,) on the CPU, at first 1 / (1 - missing rate). Replaced, never changed in place.

    Raises:
        ValueError: rates for other modalities or outside [0, 1); a negative gamma.
    """

    def __init__(self, *, modalities: Sequence[str], missing_rates: Mapping[str, float], gamma: float = 0.01) -> None:
        if set(missing_rates) != set(modalities):
            raise ValueError(f"missing_rates must name {', '.join(modalities)}, got {', '.join(missing_rates)}")
        for name, rate in missing_rates.items():
            if not 0 <= rate < 1:
                raise ValueError(f"missing_rates: {name} must be in [0, 1), got {rate}")
        if not gamma >= 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.modalities = tuple(modalities)
        self.gamma = gamma
        self.beta = torch.tensor([1 / (1 - missing_rates[name]) for name in self.modalities])
        self._warned = False

    def average(self, rp_sum: Tensor, counts: Tensor) -> dict[str, float]:
        """Mean relative preference of an epoch (Eq. 12), by name.

        Args:
            rp_sum: sum of RP_nm over the epoch's samples that had modality m, (M,).
            counts: number of these samples, (M,).

        Returns:
            The mean by name; 0 for a modality that no sample had.
        """
        return dict(zip(self.modalities, _mean(rp_sum, counts).tolist(), strict=True))

    def update(self, rp_sum: Tensor, counts: Tensor, distance_sum: Tensor | None = None) -> dict[str, float]:
        """End an epoch: beta = max(beta - gamma * mean RP, 0) (Eq. 13); returns what :meth:`average` does.

        A modality that no sample had keeps its beta.

        Args:
            rp_sum: as of :meth:`average`.
            counts: as of :meth:`average`.
            distance_sum: sum of D_nm over the same samples, (M,); Eq. 13 does without it.
        """
        moved = self.beta.double() - self.gamma * _mean(rp_sum, counts)
        # the floor is not in the paper: a negative beta would reward disagreement with the fused path
        if (moved < 0).any() and not self._warned:
            names = [name for name, low in zip(self.modalities, (moved < 0).tolist(), strict=True) if low]
            logger.warning("beta of %s would turn negative and is held at 0", ", ".join(names))
            self._warned = True
        self.beta = moved.clamp(min=0).float()
        return self.average(rp_sum, counts)

    def state_dict(self) -> dict[str, Any]:
        """Beta by name, in plain numbers."""
        return {"beta": dict(zip(self.modalities, self.beta.tolist(), strict=True))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a beta that :meth:`state_dict` gave.

        Raises:
            ValueError: the state is of other modalities.
        """
        beta = state["beta"]
        if set(beta) != set(self.modalities):
            raise ValueError(f"expected the preference of {', '.join(self.modalities)}, got that of {', '.join(beta)}")
        self.beta = torch.tensor([float(beta[name]) for name in self.modalities])


class ReleasedPreference(RelativePreference):
    """The rule of the released code: beta starts at 1 and is moved by the epoch's mean distances over all modalities.

    rp_m = (mean distance - distance_m) / mean distance; beta = clamp(beta - gamma rp, 0.1, 4), then scaled to the norm
    sqrt(M). gamma grows by half at the start and after every hundred epochs.

    Attributes:
        size_weight: float32 (M,), 1 / (1 - missing rate), constant.
    """

    def __init__(self, *, modalities: Sequence[str], missing_rates: Mapping[str, float], gamma: float = 0.01) -> None:
        super().__init__(modalities=modalities, missing_rates=missing_rates, gamma=gamma)
        self.size_weight = self.beta
        self.beta = torch.ones_like(self.size_weight)
        self._epochs = 0

    def update(self, rp_sum: Tensor, counts: Tensor, distance_sum: Tensor | None = None) -> dict[str, float]:
        if distance_sum is None:
            raise ValueError("the rule of the released code needs distance_sum, the epoch's sum of distances")
        distance = _mean(distance_sum, counts)
        centre = distance.mean()
        rp = (centre - distance) / centre if centre > 0 else torch.zeros_like(distance)
        gamma = self.gamma * GAMMA_GROWTH ** (self._epochs // GAMMA_EPOCHS + 1)
        moved = (self.beta.double() - gamma * rp).clamp(*BETA_RANGE)
        self.beta = (moved * len(moved) ** 0.5 / moved.norm()).float()
        self._epochs += 1
        return self.average(rp_sum, counts)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"epochs": self._epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._epochs = int(state["epochs"])


def _mean(rp_sum: Tensor, counts: Tensor) -> Tensor:
    return rp_sum.detach().cpu().double() / counts.cpu().clamp(min=1)
