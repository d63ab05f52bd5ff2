"""The figures of docs/results.md, in the manner of the paper's figures 3 and 6, drawn from the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from passion_components.files import write_text_atomically
from passion_components.reports.charts import bars_svg, common_limits, lines_svg
from reproduction import rows
from reproduction.grid import SETTINGS, STUDIES
from reproduction.scored import by_size, mean, settings_of, subsets_of


def write_figures(results: Path) -> None:
    """Write into ``results``: for every study with rows, mean Dice (Fig. 3), and RP and beta by epoch (Fig. 6)."""
    for study in STUDIES:
        found = settings_of(study, results)
        if not found:
            continue
        groups = {
            f"{size} present": {
                setting.name: (100 * mean(setting, "dice", subsets=subsets), math.nan) for setting in found.values()
            }
            for size, subsets in by_size(subsets_of(next(iter(found.values())))).items()
        }
        write_text_atomically(
            results / f"{study}_dice.svg", bars_svg(groups, title=STUDIES[study].title, xlabel="Dice, %")
        )
        for kind in ("rp", "beta"):
            curves = _curves(study, results, kind)
            limits = common_limits(list(curves.values()))
            for setting in ("baseline", "passion", "neglected"):
                if setting not in found or setting not in curves:
                    continue
                svg = lines_svg(
                    curves[setting],
                    title=f"{SETTINGS[setting].title}: {study}",
                    xlabel="epoch",
                    ylabel={"rp": "relative preference", "beta": "beta"}[kind],
                    limits=limits,
                    zero_line=kind == "rp",
                )
                write_text_atomically(results / f"{study}_{setting}_{kind}.svg", svg)


def _curves(study: str, results: Path, kind: str) -> dict[str, dict[str, dict[int, float]]]:
    """Setting -> modality -> epoch -> mean over folds and seeds."""
    values: dict[str, dict[str, dict[int, list[float]]]] = {}
    for row in rows.of_study(results, study, "preference"):
        of_modality = values.setdefault(row["setting"], {}).setdefault(row["modality"], {})
        of_modality.setdefault(int(row["epoch"]), []).append(float(row[kind]))
    return {
        setting: {modality: _means(points) for modality, points in curves.items()} for setting, curves in values.items()
    }


def _means(points: Mapping[int, list[float]]) -> dict[int, float]:
    return {epoch: math.fsum(found) / len(found) for epoch, found in sorted(points.items())}
