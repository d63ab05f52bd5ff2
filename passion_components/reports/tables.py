"""Tables in Markdown."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passion_components.data.outputs import check_replaceable
from passion_components.files import write_text_atomically
from passion_components.metrics.empties import empty_policy
from passion_components.modalities import all_subsets

logger = logging.getLogger(__name__)

PRESENT, ABSENT, NO_CASE = "●", "○", "–"
TABLE_MARK = "Empty masks by policy"
"""Stands in every ``table.md``."""
HEADINGS = {"dice": ("Dice, %", 100.0), "hd95": ("HD95, mm", 1.0), "hd": ("HD, mm", 1.0)}
"""Metric -> its heading and the factor to the unit in it."""


def subset_table_markdown(summary: Mapping[str, Any], modalities: Sequence[str]) -> str:
    """The scores of every subset, laid out as Table 3 of the PASSION paper.

    One column per subset, singles first, and one for their average. On top a row per modality shows what a subset
    holds; then follow, for each metric, a row per region, and at the bottom the number of cases and, by region, of
    scores that the policy for empty masks decided. Where some case lacks a modality, the same follows for the cases
    that have every one.

    Args:
        summary: what ``ScoreBook.summary`` returned.
        modalities: all modalities of the data set; rows and columns follow their order.

    Raises:
        ValueError: modalities other than those of the summary.
    """
    if sorted(modalities) != sorted(summary["modalities"]):
        raise ValueError(f"expected the modalities {', '.join(summary['modalities'])}, got {', '.join(modalities)}")
    blocks = [_caption(summary), "", *_table(summary, summary, modalities), ""]
    if "complete_cases" in summary:
        of_complete = summary["complete_cases"]
        blocks += [f"The same over the cases that have every modality ({of_complete['n']}):", ""]
        blocks += [*_table(summary, of_complete, modalities), ""]
    return "\n".join(blocks)


def _table(summary: Mapping[str, Any], means: Mapping[str, Any], modalities: Sequence[str]) -> list[str]:
    """Lines of a table of ``means``, which has ``subsets`` and ``mean_over_subsets``."""
    by_members = {frozenset(name.split("+")): entry for name, entry in means["subsets"].items()}
    subsets = [frozenset(subset) for subset in all_subsets(modalities)]
    entries = [by_members[subset] for subset in subsets] + [means["mean_over_subsets"]]

    marks = [[name] + [PRESENT if name in subset else ABSENT for subset in subsets] + [""] for name in modalities]
    marks[0][-1] = "Avg."
    rows = [_line(marks[0]), "|:---" + "|---:" * len(entries) + "|"] + [_line(row) for row in marks[1:]]
    return rows + _score_rows(summary, entries)


def _score_rows(summary: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each metric a heading and a row per region, then n and what the policy decided; a column per entry."""
    rows = []
    for metric in summary["metrics"]:
        heading, factor = HEADINGS[metric]
        rows.append(_line([f"**{heading}**"] + [""] * len(entries)))
        for region in summary["regions"]:
            rows.append(_line([region] + [_number(entry[metric][region], factor) for entry in entries]))
    rows.append(_line(["n"] + [str(entry["n"]) for entry in entries]))
    for region in summary["regions"]:
        rows.append(_line([f"{region} both / one empty", *(_decided(entry, region) for entry in entries)]))
    if _leaves_misses_out(summary):
        for region in summary["regions"]:
            rows.append(_line([f"{region} missed", *(_missed(entry, region) for entry in entries)]))
    return rows


def _leaves_misses_out(summary: Mapping[str, Any]) -> bool:
    """Whether a region that was not found at all enters no mean, so that the means flatter."""
    return any(math.isnan(empty_policy(summary["policy"]).one[metric]) for metric in summary["metrics"])


def _missed(entry: Mapping[str, Any], region: str) -> str:
    """How many of the predictions that should hold a region have no voxel of it."""
    return "{missed} of {of}".format(**entry["missed"][region])


def _decided(entry: Mapping[str, Any], region: str) -> str:
    """How many scores the policy decided since both masks, and since one of them, had no voxel."""
    counts = entry["decided_by_policy"][region]
    return f"{counts['both_empty']} / {counts['one_empty']}"


def region_table_markdown(summary: Mapping[str, Any]) -> str:
    """Scores of label maps from who knows what: a row per region, a column per metric and for what the policy decided.

    Args:
        summary: what ``ScoreBook.summary`` returned; its subsets are not told apart.
    """
    means, metrics = summary["mean_over_subsets"], summary["metrics"]
    with_missed = _leaves_misses_out(summary)
    heads = [*(HEADINGS[metric][0] for metric in metrics), "n", "both / one empty", *["missed"] * with_missed]
    rows = [_line(["region", *heads]), "|:---" + "|---:" * len(heads) + "|"]
    for region in summary["regions"]:
        scores = [_number(means[metric][region], HEADINGS[metric][1]) for metric in metrics]
        missed = [_missed(means, region)] * with_missed
        rows.append(_line([region, *scores, str(means["n"]), _decided(means, region), *missed]))
    caption = f"{summary['dataset']}, means over {summary['cases']} cases. {_rules(summary)}"
    unpredicted = summary["run"].get("unpredicted", [])
    if unpredicted:
        rows += [
            "",
            f"In no mean, since no prediction was there: {', '.join(unpredicted)} ({len(unpredicted)} labels).",
        ]
    return "\n".join([caption, "", *rows, ""])


def write_subset_table(*, output_dir: Path | str) -> None:
    """Write ``table.md`` beside the ``summary.json`` of an evaluation, and log it."""
    folder = Path(output_dir)
    check_replaceable(folder / "table.md", TABLE_MARK)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    table = subset_table_markdown(summary, summary["modalities"])
    write_text_atomically(folder / "table.md", table)
    logger.info("written to %s: metrics.csv, summary.json, table.md\n\n%s", folder, table)


def _caption(summary: Mapping[str, Any]) -> str:
    return (
        f"{summary['dataset']}, {summary['cases']} cases; {PRESENT} given, {ABSENT} withheld. "
        f"n: cases that have the subset; Avg.: mean over subsets, its n their sum. {_rules(summary)}"
    )


def _rules(summary: Mapping[str, Any]) -> str:
    """What the policy for empty masks does to the metrics of a summary."""
    policy = empty_policy(summary["policy"])
    rules = []
    for label, scores in (("both empty", policy.both), ("one empty", policy.one)):
        if all(math.isnan(scores[metric]) for metric in summary["metrics"]):
            rules.append(f"{label} in no mean")
            continue
        cells = []
        for metric in summary["metrics"]:
            (name, unit), factor = HEADINGS[metric][0].split(", "), HEADINGS[metric][1]
            cells.append(f"{name} {factor * scores[metric]:g} {unit}")
        rules.append(f"{label} {', '.join(cells)}")
    return f"{TABLE_MARK} `{policy.name}`: {'; '.join(rules)}; scores so decided are counted as both / one empty."


def _number(value: float | None, factor: float) -> str:
    return NO_CASE if value is None else f"{factor * value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
