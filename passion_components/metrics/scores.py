"""Scores of label maps by region."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from passion_components.metrics.empties import DEFAULT_POLICY, empty_policy
from passion_components.metrics.overlap import dice_of_voxels
from passion_components.metrics.surface import PERCENTILES, Surface, surface_scores

METRICS = ("dice", "hd95", "hd")
DEFAULT_METRICS = ("dice", "hd95")

Scores = dict[str, dict[str, float]]
"""Region -> metric -> value."""


class CaseScores(NamedTuple):
    """What one label map scored.

    Attributes:
        values: region -> metric -> value: Dice in [0, 1], HD95 and HD (the maximum) in mm.
        empty: region -> ``both`` or ``one``, for the regions whose scores were decided by policy because that many
            of the two masks have no voxel.
        missed: the regions that the target has and the prediction has not.
    """

    values: Scores
    empty: dict[str, str]
    missed: tuple[str, ...] = ()


def score_case(
    prediction: np.ndarray,
    target: np.ndarray,
    regions: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    policy: str = DEFAULT_POLICY,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> CaseScores:
    """Scores of one label map (*S); see :func:`score_predictions`."""
    return score_predictions(prediction[None], target, regions, spacing, policy=policy, metrics=metrics)[0]


def score_predictions(
    predictions: np.ndarray,
    target: np.ndarray,
    regions: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    policy: str = DEFAULT_POLICY,
    metrics: Sequence[str] = DEFAULT_METRICS,
    min_region_voxels: Mapping[str, int] | None = None,
) -> list[CaseScores]:
    """Scores of n label maps against one target, whose surfaces are found only once.

    Args:
        predictions: class indices (n, *S), integers.
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
    for name, labels in (("predictions", predictions), ("target", target)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} must be integer class indices, got {labels.dtype}")
    if predictions.shape[1:] != target.shape:
        raise ValueError(f"expected predictions of shape (n, *{target.shape}), got {predictions.shape}")
    least = min_region_voxels or {}
    check_scoring(regions, policy=policy, metrics=metrics, min_region_voxels=least)
    on_surface = [metric for metric in metrics if metric in PERCENTILES]
    targets = {region: np.isin(target, classes) for region, classes in regions.items()}
    surfaces = {region: Surface(mask, spacing) for region, mask in targets.items() if on_surface}

    def score(prediction: np.ndarray, region: str) -> tuple[dict[str, float], str | None, bool]:
        mask, target_mask = np.isin(prediction, regions[region]), targets[region]
        if np.count_nonzero(mask) < least.get(region, 0):
            mask = np.zeros_like(mask)
        empty = {"prediction_empty": not mask.any(), "target_empty": not target_mask.any()}
        by_rule = empty_policy(policy).scores(**empty)
        if by_rule is not None:
            which = "both" if all(empty.values()) else "one"
            return {metric: by_rule[metric] for metric in metrics}, which, not empty["target_empty"]
        found = surface_scores(Surface(mask, spacing), surfaces[region], on_surface) if on_surface else {}
        if "dice" in metrics:
            found["dice"] = dice_of_voxels(mask, target_mask)
        return {metric: found[metric] for metric in metrics}, None, False

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy and scipy let other threads run while they compute
        tasks = [[pool.submit(score, prediction, region) for region in regions] for prediction in predictions]
        scored = [dict(zip(regions, [task.result() for task in row], strict=True)) for row in tasks]
    return [_case_scores(by_region) for by_region in scored]


def _case_scores(by_region: Mapping[str, tuple[dict[str, float], str | None, bool]]) -> CaseScores:
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
    empty_policy(policy)
    if not metrics or set(metrics) - set(METRICS):
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, got {', '.join(metrics) or 'none'}")
    for region, voxels in min_region_voxels.items():
        if region not in regions:
            raise ValueError(f"min_region_voxels names the region {region!r}; accepted: {', '.join(regions)}")
        if isinstance(voxels, bool) or not isinstance(voxels, int) or voxels < 0:
            raise ValueError(f"min_region_voxels of {region} must be a whole number from 0 on, got {voxels!r}")
