"""Scores of label maps by region."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from passion_components.metrics.masks import Empty, Mask, MaskPair
from passion_components.metrics.metric import DEFAULT_METRICS, DEFAULT_POLICY, METRICS, check_policy

Scores = dict[str, dict[str, float]]
"""Region -> metric -> value."""


class CaseScores(NamedTuple):
    """What one label map scored.

    Attributes:
        values: region -> metric -> value, as files hold it.
        empty: region -> ``both`` or ``one``, for the regions whose scores were decided by policy because that many
            of the two masks have no voxel.
        missed: the regions that the target has and the prediction has not.
    """

    values: Scores
    empty: dict[str, str]
    missed: tuple[str, ...] = ()


def score_case(
    prediction: ArrayLike,
    target: ArrayLike,
    regions: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    policy: str = DEFAULT_POLICY,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> CaseScores:
    """Scores of one label map (*S); see :func:`score_predictions`."""
    return score_predictions(np.asarray(prediction)[None], target, regions, spacing, policy=policy, metrics=metrics)[0]


def score_predictions(
    predictions: ArrayLike,
    target: ArrayLike,
    regions: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    policy: str = DEFAULT_POLICY,
    metrics: Sequence[str] = DEFAULT_METRICS,
    min_region_voxels: Mapping[str, int] | None = None,
) -> list[CaseScores]:
    """Scores of n label maps against one target, whose surfaces are found only once.

    Args:
        predictions: class indices (n, *S), integers; tensors in main memory too.
        target: class indices (*S), integers.
        regions: region -> class indices that it consists of.
        spacing: millimetres per voxel, one number per dimension of S.
        policy: name of the rule for empty masks (``EMPTY_POLICIES``).
        metrics: which of ``METRICS`` are wanted; Dice alone is much cheaper.
        min_region_voxels: region -> voxels below which a prediction of it counts as none. Regions that overlap it
            keep these voxels, as in the published evaluation's post-processing of the enhancing tumour.

    Raises:
        ValueError: label maps that are not integers or differ in shape, a spacing that does not fit, unknown names.
    """
    predictions, target = np.asarray(predictions), np.asarray(target)
    for name, labels in (("predictions", predictions), ("target", target)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} must be integer class indices, got {labels.dtype}")
    if predictions.shape[1:] != target.shape:
        raise ValueError(f"expected predictions of shape (n, *{target.shape}), got {predictions.shape}")
    least = min_region_voxels or {}
    check_scoring(regions, policy=policy, metrics=metrics, min_region_voxels=least)
    targets = {region: Mask(np.isin(target, classes), spacing) for region, classes in regions.items()}

    def score(prediction: np.ndarray, region: str) -> tuple[dict[str, float], Empty | None, bool]:
        mask = Mask(np.isin(prediction, regions[region]), spacing)
        if mask.count < least.get(region, 0):
            mask = Mask(np.zeros_like(mask.voxels), spacing)
        pair = MaskPair(mask, targets[region])
        values = {metric: METRICS[metric].score(pair, policy) for metric in metrics}
        return values, pair.empty, mask.count == 0 and targets[region].count > 0

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy and scipy let other threads run while they compute
        tasks = [[pool.submit(score, prediction, region) for region in regions] for prediction in predictions]
        scored = [dict(zip(regions, [task.result() for task in row], strict=True)) for row in tasks]
    return [_case_scores(by_region) for by_region in scored]


def _case_scores(by_region: Mapping[str, tuple[dict[str, float], Empty | None, bool]]) -> CaseScores:
    return CaseScores(
        {region: values for region, (values, _, _) in by_region.items()},
        {region: empty for region, (_, empty, _) in by_region.items() if empty is not None},
        tuple(region for region, (_, _, missed) in by_region.items() if missed),
    )


def check_scoring(
    regions: Mapping[str, Sequence[int]],
    *,
    policy: str,
    metrics: Sequence[str],
    min_region_voxels: Mapping[str, int],
) -> None:
    """Refuse settings of :func:`score_predictions` that name what does not exist.

    Raises:
        ValueError: an unknown policy, metric or region, no metric at all, a number of voxels below 0.
    """
    check_policy(policy)
    if not metrics or set(metrics) - set(METRICS):
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, got {', '.join(metrics) or 'none'}")
    for region, voxels in min_region_voxels.items():
        if region not in regions:
            raise ValueError(f"min_region_voxels names the region {region!r}; accepted: {', '.join(regions)}")
        if isinstance(voxels, bool) or not isinstance(voxels, int) or voxels < 0:
            raise ValueError(f"min_region_voxels of {region} must be a whole number from 0 on, got {voxels!r}")
