"""Scores of masks without voxels, by named policy: no metric defines them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

EMPTY = ("both", "one")
"""How many of the two masks have no voxel where a policy decides."""


@dataclass(frozen=True)
class EmptyPolicy:
    """What a metric is where the prediction, the target or both have no voxel.

    Attributes:
        both: metric -> score where both are empty.
        one: metric -> score where exactly one is empty.

    NaN stands for a score that enters no mean.
    """

    name: str
    both: Mapping[str, float]
    one: Mapping[str, float]

    def scores(self, *, prediction_empty: bool, target_empty: bool) -> Mapping[str, float] | None:
        """Metric -> score by policy, or None where both masks have voxels and every metric is defined."""
        if prediction_empty and target_empty:
            return self.both
        return self.one if prediction_empty or target_empty else None


AGREE: Mapping[str, float] = {"dice": 1.0, "hd95": 0.0, "hd": 0.0}
EXCLUDED: Mapping[str, float] = {"dice": math.nan, "hd95": math.nan, "hd": math.nan}

EMPTY_POLICIES: Mapping[str, EmptyPolicy] = {
    policy.name: policy
    for policy in (
        # 373.13 mm is the diagonal of a BraTS volume, 240 x 240 x 155 mm, the challenge's worst distance.
        EmptyPolicy("brats", both=AGREE, one={"dice": 0.0, "hd95": 373.13, "hd": 373.13}),
        # The published evaluation's 1 mm flatters a model that misses a region altogether; for comparison only.
        EmptyPolicy("published", both=AGREE, one={"dice": 0.0, "hd95": 1.0, "hd": 1.0}),
        EmptyPolicy("nan", both=EXCLUDED, one=EXCLUDED),
    )
}

DEFAULT_POLICY = "brats"


def empty_policy(name: str) -> EmptyPolicy:
    """The policy of that name.

    Raises:
        ValueError: no such policy.
    """
    if name not in EMPTY_POLICIES:
        raise ValueError(f"unknown policy for empty masks {name!r}; accepted: {', '.join(EMPTY_POLICIES)}")
    return EMPTY_POLICIES[name]
