"""Scores of masks without voxels, by named policy: neither Dice nor HD95 defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EmptyPolicy:
    """What a metric is where the prediction, the target or both have no voxel.

    Attributes:
        both: metric -> score where both are empty.
        one: metric -> score where exactly one is empty.
    """

    name: str
    both: Mapping[str, float]
    one: Mapping[str, float]

    def score(self, metric: str, *, prediction_empty: bool, target_empty: bool) -> float | None:
        """The score by policy, or None where both masks have voxels and the metric is defined."""
        if prediction_empty and target_empty:
            return self.both[metric]
        return self.one[metric] if prediction_empty or target_empty else None


EMPTY_POLICIES: Mapping[str, EmptyPolicy] = {
    policy.name: policy
    for policy in (
        # 373.13 mm is the diagonal of a BraTS volume, 240 x 240 x 155 mm, the challenge's worst distance.
        EmptyPolicy("brats", both={"dice": 1.0, "hd95": 0.0}, one={"dice": 0.0, "hd95": 373.13}),
        # The published evaluation's 1 mm flatters a model that misses a region altogether; for comparison only.
        EmptyPolicy("published", both={"dice": 1.0, "hd95": 0.0}, one={"dice": 0.0, "hd95": 1.0}),
    )
}


def empty_policy(name: str) -> EmptyPolicy:
    """The policy of that name.

    Raises:
        ValueError: no such policy.
    """
    if name not in EMPTY_POLICIES:
        raise ValueError(f"unknown policy for empty masks {name!r}; accepted: {', '.join(EMPTY_POLICIES)}")
    return EMPTY_POLICIES[name]
