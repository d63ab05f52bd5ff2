"""Runs side by side: which of them are repetitions of one setting, and how settings differ on the same cases."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from passion_components.reports.comparable import check_repetitions, description
from passion_components.reports.runs import Run, ScoreKey

RESAMPLES, SEED, COVERAGE = 10_000, 0, 0.95


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but their seed."""

    name: str
    runs: tuple[Run, ...]

    def means(self, *path: str) -> list[float | None]:
        """The value at a place in each run's summary, as ``means("mean_over_subsets", "dice", "WT")``."""
        return [_at(run.summary, path) for run in self.runs]

    def counts(self, *path: str) -> str:
        """The n at a place in the runs' summaries; the smallest and the largest where runs differ."""
        counts = sorted({int(_at(run.summary, (*path, "n")) or 0) for run in self.runs})
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


@dataclass(frozen=True)
class Difference:
    """How a setting scores against another on the same cases and subsets.

    Attributes:
        cases: for the mean over subsets and then for each subset, the number of paired cases, (1 + S,).
        value: the setting minus the other, (1 + S, metrics, regions + 1); the last region is the mean over regions.
        low: lower limit of the interval of :data:`COVERAGE`, as ``value``; NaN where fewer than two cases are paired.
        high: upper limit.
    """

    cases: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def settings_of(runs: Sequence[Run]) -> list[Setting]:
    """Group repetitions, in the order of their first runs.

    Runs that the user gave one name are one setting. The others are one where they were trained alike but for the
    seed and scored alike, and no seed occurs twice: equal descriptions with equal seeds differ in something else.

    Raises:
        RunError: runs of one name whose descriptions differ in more than the seed.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(("name", run.name) if run.named else ("as", _description(run) or run.name), []).append(run)
    settings = []
    for (kind, _), members in groups.items():
        seeds = [run.trained_on.get("seed") for run in members]
        if kind == "name":
            check_repetitions(members)
        if kind == "name" or len(set(seeds)) == len(seeds):
            settings.append(Setting(members[0].name, tuple(members)))
        else:
            settings += [Setting(run.name, (run,)) for run in members]
    return settings


def difference(setting: Setting, other: Setting) -> Difference:
    """By how much ``setting`` scores more than ``other``, with intervals by bootstrap over cases.

    Scores of one case and subset are averaged over the runs of a setting first, and paired where both have them. Means
    are taken over cases, then subsets, then regions. The intervals are percentiles of :data:`RESAMPLES` means over
    cases drawn with replacement, all subsets of a case together, from a fixed seed; they tell how much another choice
    of cases would change the difference, not another seed of training.
    """
    summary = setting.runs[0].summary
    ours, theirs = _mean_scores(setting), _mean_scores(other)
    names = sorted({key.case for key in ours} & {key.case for key in theirs})
    shape = (len(names), len(summary["subsets"]), len(summary["metrics"]), len(summary["regions"]))
    paired = np.full(shape, math.nan)
    for place in np.ndindex(*shape):
        case, subset, metric, region = place
        key = ScoreKey(
            names[case], list(summary["subsets"])[subset], summary["regions"][region], summary["metrics"][metric]
        )
        paired[place] = ours.get(key, math.nan) - theirs.get(key, math.nan)
    has = np.isfinite(paired).any((2, 3))
    cases = np.concatenate([[has.any(1).sum()], has.sum(0)])
    value = _means(paired, np.ones((1, len(names))))[0]
    pairs = _pairs(paired)
    if len(names) < 2:
        return Difference(cases, value, np.full_like(value, math.nan), np.full_like(value, math.nan))
    draws = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a subset that no case has
        tail = (1 - COVERAGE) / 2
        low, high = np.nanquantile(_means(paired, draws.astype(float)), (tail, 1 - tail), axis=0)
    few = pairs < 2
    low[few], high[few] = math.nan, math.nan
    return Difference(cases, value, low, high)


def _means(paired: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means (R, 1 + S, metrics, regions + 1) of (N, S, metrics, regions) with weights (R, N), NaN left out."""
    known = np.isfinite(paired)
    flat = np.where(known, paired, 0).reshape(len(paired), -1)
    sums, totals = weights @ flat, weights @ known.reshape(flat.shape).astype(float)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a subset that no drawn case has
        by_subset = (sums / totals).reshape(len(weights), *paired.shape[1:])
        with_mean = np.concatenate([np.nanmean(by_subset, axis=1, keepdims=True), by_subset], axis=1)
        return np.concatenate([with_mean, np.nanmean(with_mean, axis=-1, keepdims=True)], axis=-1)


def _pairs(paired: np.ndarray) -> np.ndarray:
    """Number of cases with a value, laid out as :func:`_means` gives the means (1 + S, metrics, regions + 1)."""
    known = np.isfinite(paired)
    by_subset = np.concatenate([known.any(1)[:, None], known], axis=1)
    return np.concatenate([by_subset, by_subset.any(-1, keepdims=True)], axis=-1).sum(0)


def _mean_scores(setting: Setting) -> dict[ScoreKey, float]:
    """Means over the runs of a setting, of the scores that all of its runs have."""
    return {
        key: math.fsum(run.scores[key] for run in setting.runs) / len(setting.runs)
        for key in setting.runs[0].scores
        if all(key in run.scores for run in setting.runs)
    }


def _description(run: Run) -> str:
    """How a run was trained and scored, as text; empty where there is no record of it."""
    said = description(run)
    return json.dumps(said, sort_keys=True) if said else ""


def _at(summary: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = summary
    for key in path:
        value = value[key]
    return None if value is None or value != value else float(value)
