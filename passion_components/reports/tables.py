"""Tables in Markdown."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passion_components.files import write_text_atomically
from passion_components.metrics.empties import empty_policy
from passion_components.modalities import all_subsets

logger = logging.getLogger(__name__)

PRESENT, ABSENT, NO_CASE = "●", "○", "–"
HEADINGS = {"dice": ("Dice, %", 100.0), "hd95": ("HD95, mm", 1.0)}
"""Metric -> its heading and the factor to the unit in it."""


def subset_table_markdown(summary: Mapping[str, Any], modalities: Sequence[str]) -> str:
    """The scores of every subset, laid out as Table 3 of the PASSION paper.

    One column per subset, singles first, and one for their average. On top a row per modality shows what a subset
    holds; then follow, for each metric, a row per region, and at the bottom the number of cases.

    Args:
        summary: what ``ScoreBook.summary`` returned.
        modalities: all modalities of the data set; rows and columns follow their order.

    Raises:
        ValueError: modalities other than those of the summary.
    """
    if sorted(modalities) != sorted(summary["modalities"]):
        raise ValueError(f"expected the modalities {', '.join(summary['modalities'])}, got {', '.join(modalities)}")
    by_members = {frozenset(name.split("+")): entry for name, entry in summary["subsets"].items()}
    subsets = [frozenset(subset) for subset in all_subsets(modalities)]
    entries = [by_members[subset] for subset in subsets] + [summary["mean_over_subsets"]]

    marks = [[name] + [PRESENT if name in subset else ABSENT for subset in subsets] + [""] for name in modalities]
    marks[0][-1] = "Avg."
    rows = [_line(marks[0]), "|:---" + "|---:" * len(entries) + "|"] + [_line(row) for row in marks[1:]]
    for metric in summary["metrics"]:
        heading, factor = HEADINGS[metric]
        rows.append(_line([f"**{heading}**"] + [""] * len(entries)))
        for region in summary["regions"]:
            rows.append(_line([region] + [_number(entry[metric][region], factor) for entry in entries]))
    rows.append(_line(["n"] + [str(entry["n"]) for entry in entries]))
    return "\n".join([_caption(summary), "", *rows, ""])


def write_subset_table(*, output_dir: Path | str) -> None:
    """Write ``table.md`` beside the ``summary.json`` of an evaluation, and log it."""
    folder = Path(output_dir)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    table = subset_table_markdown(summary, summary["modalities"])
    write_text_atomically(folder / "table.md", table)
    logger.info("written to %s: metrics.csv, summary.json, table.md\n\n%s", folder, table)


def _caption(summary: Mapping[str, Any]) -> str:
    policy = empty_policy(summary["policy"])
    rules = "; ".join(
        f"{label} Dice {100 * scores['dice']:g} %, HD95 {scores['hd95']:g} mm"
        for label, scores in (("both empty", policy.both), ("one empty", policy.one))
    )
    return (
        f"{summary['dataset']}, {summary['cases']} cases; {PRESENT} given, {ABSENT} withheld. "
        f"n: cases that have the subset; Avg.: mean over subsets, its n their sum. "
        f"Empty masks by policy `{policy.name}`: {rules}."
    )


def _number(value: float | None, factor: float) -> str:
    return NO_CASE if value is None else f"{factor * value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
