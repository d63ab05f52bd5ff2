"""The tables of docs/results.md, written into it from the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
from scipy.stats import t

from passion_components.files import write_text_atomically
from passion_components.reports.cells import (
    Cell,
    Column,
    Table,
    interval_cell,
    interval_column,
    label,
    label_column,
    markdown_lines,
)
from passion_components.reports.comparison import COVERAGE, Setting, difference
from reproduction import rows
from reproduction.grid import SETTINGS, STUDIES
from reproduction.scored import METRICS, by_size, mean, settings_of, subsets_of

SPAN = 3
"""Epochs at either end of a training over which tables average."""
BLOCK = re.compile(r"(<!-- rows: (\w+) (\w+)((?: \w+)?) -->\n).*?(<!-- end -->)", re.DOTALL)


def write_tables(page: Path, results: Path) -> None:
    """Fill every block ``<!-- rows: KIND STUDY --> ... <!-- end -->`` of a page anew; a page that is not there has all.

    Differences are to the study's first setting, or to that of ``<!-- rows: differences STUDY SETTING -->``.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else all_blocks()
    write_text_atomically(page, with_tables(text, results))


def all_blocks() -> str:
    """A page with the blocks of every study, still empty."""

    def block(kind: str, study: str) -> str:
        return f"<!-- rows: {kind} {study} -->\n<!-- end -->"

    parts = ["# Results"]
    for name, study in STUDIES.items():
        parts += [f"## {study.title}", block("means", name), f"Differences to {SETTINGS[study.settings[0]].title}:"]
        parts += [block(kind, name) for kind in ("differences", "preference", "terms")]
    return "\n\n".join([*parts, "## What it took", block("hours", "all")]) + "\n"


def with_tables(text: str, results: Path) -> str:
    """The text of a page with its blocks as the rows have them.

    Raises:
        KeyError: a block of an unknown kind or study.
    """

    def filled(match: re.Match[str]) -> str:
        lines = KINDS[match[2]](match[3], results, *match[4].split())
        return match[1] + "\n".join(["", *lines, ""]) + "\n" + match[5]

    return BLOCK.sub(filled, text)


def means(study: str, results: Path) -> list[str]:
    """Every setting: Dice by subset and region, and the means of Dice and HD95."""
    found = settings_of(study, results)
    if not found:
        return ["Not run yet."]
    first = next(iter(found.values()))
    subsets, regions = subsets_of(first), list(first.runs[0].summary["regions"])
    many = len(subsets) > 7
    groups = (
        {str(n): several for n, several in by_size(subsets).items()} if many else {name: [name] for name in subsets}
    )
    columns = [label_column("setting"), Column("seeds", ("seeds",)), Column("Dice, %", ("dice",))]
    columns += [Column(name, (name,)) for name in groups]
    if len(regions) > 1:
        columns += [Column(region, (region,)) for region in regions]
    columns.append(Column("HD95, mm", ("hd95",)))
    body = []
    for setting in found.values():
        values = [mean(setting, "dice"), *(mean(setting, "dice", subsets=several) for several in groups.values())]
        if len(regions) > 1:
            values += [mean(setting, "dice", region=region) for region in regions]
        cells = [Cell(f"{100 * value:.1f}", (value,)) for value in values]
        cells.append(Cell(f"{mean(setting, 'hd95'):.1f}", (mean(setting, "hd95"),)))
        body.append((label(setting.name), label(len(setting.runs)), *cells))
    return markdown_lines(Table(study, "", "", tuple(columns), 1, tuple(body)))


def differences(study: str, results: Path, reference: str = "") -> list[str]:
    """Every setting minus one, the study's first by default, with intervals over patients, by number present."""
    found = settings_of(study, results)
    reference = reference or STUDIES[study].settings[0]
    if reference not in found or len(found) < 2:
        return ["Not run yet."]
    columns = [label_column("setting"), Column("cases", ("cases",))]
    columns += [interval_column(metric, "mean over subsets") for metric in METRICS]
    columns += [interval_column("dice", f"{count} present") for count in by_size(subsets_of(found[reference]))]
    body = []
    for name, setting in found.items():
        if name == reference:
            continue
        paired = difference(setting, found[reference])
        cells = [
            interval_cell(metric, *(array[0, place, -1] for array in (paired.value, paired.low, paired.high)))
            for place, metric in enumerate(METRICS)
        ]
        for several in by_size(subsets_of(setting)).values():
            part = difference(_only(setting, several), _only(found[reference], several))
            cells.append(interval_cell("dice", *(array[0, 0, -1] for array in (part.value, part.low, part.high))))
        body.append((label(setting.name), label(int(paired.cases[0])), *cells))
    return markdown_lines(Table(study, "", "", tuple(columns), 1, tuple(body)))


def preference(study: str, results: Path) -> list[str]:
    """How far relative preference lies from 0 at the start and at the end, by setting, and how far beta has moved."""
    by_run: dict[str, dict[tuple[str, str], list[dict[str, str]]]] = {}
    for row in rows.of_study(results, study, "preference"):
        by_run.setdefault(row["setting"], {}).setdefault((row["fold"], row["seed"]), []).append(row)
    if not by_run:
        return ["Not run yet."]
    columns = [label_column("setting"), Column("trainings", ("n",))]
    columns += [Column(heading, (heading,)) for heading in (f"mean abs(RP), epochs 1 to {SPAN}", f"last {SPAN} epochs")]
    columns += [Column("change", ("change",)), Column("RP of each sequence at the end", ("rp",))]
    columns += [Column("beta, greatest change, %", ("beta",))]
    body = []
    for setting in (name for name in STUDIES[study].settings if name in by_run):
        runs = list(by_run[setting].values())
        last = max(int(row["epoch"]) for run in runs for row in run)
        early = [_size([row for row in run if int(row["epoch"]) <= SPAN]) for run in runs]
        late = [_size([row for row in run if int(row["epoch"]) > last - SPAN]) for run in runs]
        ends: dict[str, list[float]] = {}
        for row in (row for run in runs for row in run if int(row["epoch"]) > last - SPAN):
            ends.setdefault(row["modality"], []).append(float(row["rp"]))
        cells = [len(runs), f"{fmean(early):.3f}", f"{fmean(late):.3f}", _mean_and_interval(np.subtract(late, early))]
        cells += [", ".join(f"{name} {fmean(values):+.2f}" for name, values in ends.items())]
        cells += [f"{100 * max(_moved(run) for run in runs):.1f}"]
        body.append((label(SETTINGS[setting].title), *map(label, cells)))
    return markdown_lines(Table(study, "", "", tuple(columns), 1, tuple(body)))


def terms(study: str, results: Path) -> list[str]:
    """Mean of every term of the loss over the last epochs and all folds, before its lambda."""
    by_setting: dict[str, list[dict[str, str]]] = {}
    for row in rows.of_study(results, study, "losses"):
        by_setting.setdefault(row["setting"], []).append(row)
    found: dict[str, dict[str, list[float]]] = {}
    for setting in (name for name in STUDIES[study].settings if name in by_setting):
        last = max(int(row["epoch"]) for row in by_setting[setting])
        for row in by_setting[setting]:
            if int(row["epoch"]) > last - SPAN:
                found.setdefault(setting, {}).setdefault(row["name"], []).append(float(row["value"]))
    if not found:
        return ["Not run yet."]
    names = sorted({name for of_setting in found.values() for name in of_setting} - {"loss"})
    columns = [label_column("setting"), *(Column(name, (name,)) for name in ("loss", *names))]
    body = []
    for setting, of_setting in found.items():
        cells = [label(f"{fmean(of_setting[name]):.3f}" if name in of_setting else "") for name in ("loss", *names)]
        body.append((label(SETTINGS[setting].title), *cells))
    return markdown_lines(Table(study, "", "", tuple(columns), 1, tuple(body)))


def hours(_: str, results: Path) -> list[str]:
    """CPU hours and trainings by study."""
    columns = (label_column("study"), Column("trainings", ("n",)), Column("CPU hours", ("hours",)))
    body, total, trainings = [], 0.0, 0
    done = rows.finished(results)
    for name, study in STUDIES.items():
        mine = [row for job, row in done.items() if job.study == name]
        spent = sum(rows.cpu_seconds(row) for row in mine) / 3600
        total, trainings = total + spent, trainings + len(mine)
        body.append((label(f"`{name}`: {study.title}"), label(len(mine)), label(f"{spent:.2f}")))
    body.append((label("all"), label(trainings), label(f"{total:.2f}")))
    return markdown_lines(Table("hours", "", "", columns, 1, tuple(body)))


KINDS: Mapping[str, Callable[..., list[str]]] = {
    "means": means,
    "differences": differences,
    "preference": preference,
    "terms": terms,
    "hours": hours,
}


def _size(found: Sequence[Mapping[str, str]]) -> float:
    """Mean of abs(RP)."""
    return fmean(abs(float(row["rp"])) for row in found)


def _mean_and_interval(values: np.ndarray) -> str:
    """Mean over trainings and its 95 % interval by Student's t, where there are two of them."""
    if len(values) < 2:
        return f"{values.mean():+.3f}"
    half = t.ppf((1 + COVERAGE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def _moved(run: Sequence[Mapping[str, str]]) -> float:
    """Greatest change of a beta from the first to the last epoch of a training, as a share of the first."""
    changes = []
    for name in dict.fromkeys(row["modality"] for row in run):
        betas = [float(row["beta"]) for row in run if row["modality"] == name]
        changes.append(abs(betas[-1] / betas[0] - 1))
    return max(changes)


def _only(setting: Setting, subsets: list[str]) -> Setting:
    """The setting with the scores of some subsets alone."""
    runs = [
        replace(
            run,
            summary={**run.summary, "subsets": {name: {} for name in subsets}},
            scores={key: value for key, value in run.scores.items() if key.subset in subsets},
        )
        for run in setting.runs
    ]
    return Setting(setting.name, tuple(runs))
