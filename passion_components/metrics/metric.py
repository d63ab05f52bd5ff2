"""The metrics: what each measures, what it scores where masks are empty, and how people read it.

:data:`METRICS` is the only place that knows which there are: one more entry is computed, written, tabulated and drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from passion_components.metrics.masks import Mask, MaskPair, check_masks

EMPTY_POLICIES = ("brats", "published", "nan")
"""What masks without voxels score, which no metric defines: the worst score, that of the published evaluation, none."""

DEFAULT_POLICY = "brats"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A measure of how well a predicted mask fits a true one.

    Attributes:
        name: in files, in configs and on the command line.
        label: what people call it.
        unit: in tables and figures.
        factor: from the value in files to this unit.
        greatest: the greatest value in this unit, None where there is none.
        more_is_better: whether a greater value is the better one.
        value: of a pair of masks that both have voxels.
        both_empty: score where both masks have no voxel, under every policy that gives one.
        one_empty: policy -> score where exactly one mask has no voxel, for all policies but ``nan``.

    Raises:
        ValueError: policies that are missing or unknown.
    """

    name: str
    label: str
    unit: str
    factor: float = 1.0
    greatest: float | None = None
    more_is_better: bool
    value: Callable[[MaskPair], float]
    both_empty: float
    one_empty: Mapping[str, float]

    def __post_init__(self) -> None:
        expected = [policy for policy in EMPTY_POLICIES if policy != "nan"]
        if sorted(self.one_empty) != sorted(expected):
            raise ValueError(
                f"{self.name}: expected a score for {', '.join(expected)}, got {', '.join(self.one_empty)}"
            )

    @property
    def heading(self) -> str:
        """Label and unit."""
        return f"{self.label}, {self.unit}"

    def shown(self, value: float | None) -> float:
        """A value in the unit of tables; NaN for None."""
        return math.nan if value is None else self.factor * value

    def if_empty(self, policy: str, *, both: bool) -> float:
        """Score of masks of which both or one have no voxel; NaN for one that enters no mean.

        Raises:
            ValueError: no such policy.
        """
        if check_policy(policy) == "nan":
            return math.nan
        return self.both_empty if both else self.one_empty[policy]

    def score(self, pair: MaskPair, policy: str) -> float:
        """Value of a pair of masks, or what the policy says where one has no voxel."""
        return self.value(pair) if pair.empty is None else self.if_empty(policy, both=pair.empty == "both")

    def __call__(
        self,
        prediction: ArrayLike,
        target: ArrayLike,
        spacing: Sequence[float] | None = None,
        *,
        policy: str = DEFAULT_POLICY,
    ) -> float:
        """:meth:`score` of two arrays.

        Args:
            prediction: bool, any number of dimensions; a tensor in main memory too.
            target: bool, of the same shape.
            spacing: millimetres per voxel, one number per dimension; metrics of shares need none.
            policy: name of the rule for empty masks.

        Raises:
            ValueError: masks that are not bool or differ in shape, a spacing that does not fit, an unknown policy.
        """
        prediction, target = np.asarray(prediction), np.asarray(target)
        check_masks(prediction, target)
        return self.score(MaskPair(Mask(prediction, spacing), Mask(target, spacing)), check_policy(policy))


def check_policy(name: str) -> str:
    """The name of a policy for empty masks, if it is one.

    Raises:
        ValueError: no such policy.
    """
    if name not in EMPTY_POLICIES:
        raise ValueError(f"unknown policy for empty masks {name!r}; accepted: {', '.join(EMPTY_POLICIES)}")
    return name


def _overlap(pair: MaskPair) -> float:
    """Dice coefficient 2 |A n B| / (|A| + |B|), in [0, 1]."""
    shared = np.count_nonzero(pair.prediction.voxels & pair.target.voxels)
    return float(2 * shared / (pair.prediction.count + pair.target.count))


def _surface_distance(name: str, label: str, percentile: float) -> Metric:
    """Percentile (linear interpolation) of both directed surface distances **together**, by the published definition.

    Own, since MONAI's HD95 is the greater one of two percentiles.
    """
    return Metric(
        name=name,
        label=label,
        unit="mm",
        more_is_better=False,
        value=lambda pair: float(np.percentile(pair.surface_distances, percentile)),
        both_empty=0.0,
        # 373.13 mm is the diagonal of a BraTS volume, 240 x 240 x 155 mm, the challenge's worst distance. The published
        # evaluation's 1 mm flatters a model that misses a region altogether; for comparison only.
        one_empty={"brats": 373.13, "published": 1.0},
    )


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="dice",
            label="Dice",
            unit="%",
            factor=100.0,
            greatest=100.0,
            more_is_better=True,
            value=_overlap,
            both_empty=1.0,
            one_empty={"brats": 0.0, "published": 0.0},
        ),
        _surface_distance("hd95", "HD95", 95),
        _surface_distance("hd", "HD", 100),
    )
}
DEFAULT_METRICS = ("dice", "hd95")
