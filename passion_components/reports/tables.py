"""The tables of one evaluation."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passion_components.data.outputs import check_replaceable
from passion_components.files import write_text_atomically
from passion_components.metrics.metric import METRICS
from passion_components.modalities import all_subsets
from passion_components.reports.cells import (
    Cell,
    Column,
    Table,
    label,
    label_column,
    markdown_lines,
    mean_cell,
    mean_column,
)

logger = logging.getLogger(__name__)

PRESENT, ABSENT = "●", "○"
TABLE_MARK = "Empty masks by policy"
"""Stands in every ``table.md``."""


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
    blocks = [_caption(summary), "", *markdown_lines(_subset_table(summary, summary, modalities)), ""]
    if "complete_cases" in summary:
        of_complete = summary["complete_cases"]
        blocks += [f"The same over the cases that have every modality ({of_complete['n']}):", ""]
        blocks += [*markdown_lines(_subset_table(summary, of_complete, modalities)), ""]
    return "\n".join(blocks)


def _subset_table(summary: Mapping[str, Any], means: Mapping[str, Any], modalities: Sequence[str]) -> Table:
    """A column per subset in ``means``, which has ``subsets`` and ``mean_over_subsets``."""
    by_members = {frozenset(name.split("+")): entry for name, entry in means["subsets"].items()}
    subsets = [frozenset(subset) for subset in all_subsets(modalities)]
    entries = [by_members[subset] for subset in subsets] + [means["mean_over_subsets"]]

    marks = [[PRESENT if name in subset else ABSENT for subset in subsets] for name in modalities]
    columns = [label_column(modalities[0]), *(Column(mark, ()) for mark in (*marks[0], "Avg."))]
    rows = [_words(name, *of_name, "") for name, of_name in zip(modalities[1:], marks[1:], strict=True)]
    rows += _score_rows(summary, entries)
    return Table("table", "Scores by subset", _caption(summary), tuple(columns), 1, tuple(rows))


def _score_rows(summary: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]) -> list[tuple[Cell, ...]]:
    """For each metric a heading and a row per region, then n and what the policy decided; a column per entry."""
    rows = []
    for metric in summary["metrics"]:
        rows.append(_words(f"**{METRICS[metric].heading}**", *[""] * len(entries)))
        for region in summary["regions"]:
            rows.append((label(region), *(mean_cell(metric, [entry[metric][region]]) for entry in entries)))
    rows.append(_words("n", *(entry["n"] for entry in entries)))
    for region in summary["regions"]:
        rows.append(_words(f"{region} both / one empty", *(_decided(entry, region) for entry in entries)))
    if _leaves_misses_out(summary):
        for region in summary["regions"]:
            rows.append(_words(f"{region} missed", *(_missed(entry, region) for entry in entries)))
    return rows


def _words(*texts: str | int) -> tuple[Cell, ...]:
    return tuple(map(label, texts))


def _leaves_misses_out(summary: Mapping[str, Any]) -> bool:
    """Whether a region that was not found at all enters no mean, so that the means flatter."""
    return any(math.isnan(METRICS[metric].if_empty(summary["policy"], both=False)) for metric in summary["metrics"])


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
    columns = [Column(METRICS[metric].heading, ()) for metric in metrics]
    columns += [Column(heading, ()) for heading in ("n", "both / one empty", *["missed"] * with_missed)]
    rows = []
    for region in summary["regions"]:
        scores = [mean_cell(metric, [means[metric][region]]) for metric in metrics]
        missed = [_missed(means, region)] * with_missed
        rows.append((label(region), *scores, *_words(means["n"], _decided(means, region), *missed)))
    caption = f"{summary['dataset']}, means over {summary['cases']} cases. {_rules(summary)}"
    table = Table("table", "Scores by region", caption, (label_column("region"), *columns), 1, tuple(rows))
    lines = [caption, "", *markdown_lines(table)]
    unpredicted = summary["run"].get("unpredicted", [])
    if unpredicted:
        names = ", ".join(unpredicted)
        lines += ["", f"In no mean, since no prediction was there: {names} ({len(unpredicted)} labels)."]
    return "\n".join([*lines, ""])


def subset_scores(summary: Mapping[str, Any], means: Mapping[str, Any], cases: str) -> Table:
    """Every score: a row a subset, and one for the mean over subsets.

    Args:
        summary: an evaluation.
        means: the summary, or a part of it with ``subsets`` and ``mean_over_subsets``.
        cases: over which cases ``means`` are, in words.
    """
    entries = {**means["subsets"], "mean over subsets": means["mean_over_subsets"]}
    columns = [mean_column(metric, region) for metric in summary["metrics"] for region in summary["regions"]]
    decided = [region for region in summary["regions"] if "decided_by_policy" in means["mean_over_subsets"]]
    columns += [Column(f"{region}, both / one empty", (f"{region} both", f"{region} one")) for region in decided]
    rows = []
    for subset, entry in entries.items():
        cells = [mean_cell(metric, [entry[metric][r]]) for metric in summary["metrics"] for r in summary["regions"]]
        for region in decided:
            counts = entry["decided_by_policy"][region]
            both, one = counts["both_empty"], counts["one_empty"]
            cells.append(Cell(f"{both} / {one}", (both, one)))
        rows.append((label(subset), label(entry["n"]), *cells))
    caption = f"{summary['dataset']}, {cases}: mean over the n of them that have the subset. {_policy(summary)}"
    heads = (label_column("subset"), label_column("n"))
    return Table("subsets", "Scores by subset", caption, (*heads, *columns), 1, tuple(rows))


def single_scores(summary: Mapping[str, Any], rates: Mapping[str, float]) -> Table:
    """Dice from each modality alone, beside the share of training cases that lacked it (``rates``, where known)."""
    heads = [label_column(heading) for heading in ("alone", "missing in training", "n")]
    rows = []
    for modality in summary["modalities"]:
        entry = summary["subsets"].get(modality)
        if entry:
            rate = f"{100 * rates[modality]:.0f} %" if modality in rates else "unknown"
            cells: list[Cell] = [mean_cell("dice", [entry["dice"][region]]) for region in summary["regions"]]
            rows.append((label(modality), label(rate), label(entry["n"]), *cells))
    columns = [mean_column("dice", region) for region in summary["regions"]]
    caption = f"Mean over n cases. {_policy(summary)}"
    return Table("singles", "Dice from one modality", caption, (*heads, *columns), 1, tuple(rows))


def _policy(summary: Mapping[str, Any]) -> str:
    return f"Empty masks by policy {summary['policy']}."


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
    policy, metrics = summary["policy"], [METRICS[name] for name in summary["metrics"]]
    rules = []
    for words, both in (("both empty", True), ("one empty", False)):
        scores = [metric.shown(metric.if_empty(policy, both=both)) for metric in metrics]
        if all(map(math.isnan, scores)):
            rules.append(f"{words} in no mean")
            continue
        of_metrics = [f"{metric.label} {score:g} {metric.unit}" for metric, score in zip(metrics, scores, strict=True)]
        rules.append(f"{words} {', '.join(of_metrics)}")
    return f"{TABLE_MARK} `{policy}`: {'; '.join(rules)}; scores so decided are counted as both / one empty."
