"""Rows read back as the settings that the reports of the package compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from passion_components.reports.comparison import Setting
from passion_components.reports.runs import Run, ScoreKey, Training
from reproduction import rows
from reproduction.grid import SETTINGS, STUDIES

METRICS = ("dice", "hd95")


SHARED = {"lgg_a": ("lgg_complete",), "lgg_b": ("lgg_complete",), "brats": ("brats_complete",)}
"""Studies whose settings are compared with those of another too: the same folds, nothing taken away."""


def settings_of(study: str, results: Path) -> dict[str, Setting]:
    """Settings of which every fold of a seed is there, each seed a run whose cases are those of all folds.

    Args:
        study: its name; the settings of its :data:`SHARED` studies come after its own.
        results: folder of the rows.

    Returns:
        By name, in the grid's order; those of a shared study as ``study/setting``.
    """
    found = {}
    for name in (study, *SHARED.get(study, ())):
        scores: dict[tuple[str, str], dict[ScoreKey, float]] = {}
        for row in rows.of_study(results, name, "scores"):
            run = (row["setting"], row["seed"])
            key = ScoreKey(row["case"], row["subset"], row["region"], row["metric"])
            scores.setdefault(run, {})[key] = float(row["value"])
        for setting in STUDIES[name].settings:
            if complete := [scores[run] for run in sorted(scores) if run[0] == setting]:
                title = SETTINGS[setting].title + ("" if name == study else "; complete data")
                place = setting if name == study else f"{name}/{setting}"
                found[place] = Setting(title, tuple(_run(title, of_seed) for of_seed in complete))
    return found


def subsets_of(setting: Setting) -> list[str]:
    """Names of the subsets that a setting has scores from, the small ones first."""
    return list(setting.runs[0].summary["subsets"])


def by_size(subsets: Iterable[str]) -> dict[int, list[str]]:
    """Subsets by the number of their modalities."""
    sizes: dict[int, list[str]] = {}
    for name in subsets:
        sizes.setdefault(name.count("+") + 1, []).append(name)
    return sizes


def mean(setting: Setting, metric: str, *, subsets: Iterable[str] | None = None, region: str | None = None) -> float:
    """Mean over cases, then subsets, then regions, then seeds; NaN where there is no score."""
    wanted = subsets_of(setting) if subsets is None else list(subsets)
    regions = [region] if region else setting.runs[0].summary["regions"]
    found = []
    for run in setting.runs:
        for subset in wanted:
            for name in regions:
                values = [
                    value
                    for key, value in run.scores.items()
                    if (key.subset, key.region, key.metric) == (subset, name, metric)
                ]
                found.append(math.fsum(values) / len(values) if values else math.nan)
    return math.fsum(found) / len(found) if found else math.nan


def _run(name: str, scores: Mapping[ScoreKey, float]) -> Run:
    subsets = {key.subset: {} for key in scores}
    ordered = dict(sorted(subsets.items(), key=lambda item: item[0].count("+")))
    summary = {
        "subsets": ordered,
        "metrics": [name for name in METRICS if any(key.metric == name for key in scores)],
        "regions": list(dict.fromkeys(key.region for key in scores)),
    }
    return Run(name, True, Path(), Training(Path()), summary, scores)
