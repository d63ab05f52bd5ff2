"""Tables that are written as Markdown, CSV and HTML from one description."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from passion_components.metrics.metric import METRICS

NO_CASE = "–"
"""Stands where there is no score."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what a reader sees.
        values: what a program reads, one for each of the column's ``parts``; None where there is no value.
    """

    text: str
    values: tuple[str | float | None, ...]


@dataclass(frozen=True)
class Column:
    """A column: its heading, and for a CSV the names of the values in each of its cells."""

    heading: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its CSV.
        title: one line.
        caption: what its numbers are.
        columns: C columns.
        labels: how many columns, from the left, name a row.
        rows: each of C cells.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    labels: int
    rows: tuple[tuple[Cell, ...], ...]


def label_column(heading: str) -> Column:
    """A column of words or counts."""
    return Column(heading, (heading,))


def label(text: str | int) -> Cell:
    """Words or a count."""
    return Cell(str(text), (text,))


def mean_column(metric: str, what: str, *, short: bool = False) -> Column:
    """A column of :func:`mean_cell`; ``short`` leaves the metric out of the heading."""
    heading = what if short else _heading(metric, what)
    return Column(heading, (f"{metric} {what}", f"{metric} {what} sd"))


def mean_cell(metric: str, values: Sequence[float | None]) -> Cell:
    """Mean and standard deviation over runs, in the metric's unit; runs without a value are left out."""
    known = [METRICS[metric].shown(value) for value in values if value is not None]
    if not known:
        return Cell(NO_CASE, (None, None))
    mean = statistics.fmean(known)
    if len(known) == 1:
        return Cell(f"{mean:.2f}", (mean, None))
    spread = statistics.stdev(known)
    return Cell(f"{mean:.2f} ± {spread:.2f}", (mean, spread))


def interval_column(metric: str, what: str) -> Column:
    """A column of :func:`interval_cell`."""
    names = (f"{metric} {what}", f"{metric} {what} low", f"{metric} {what} high")
    return Column(_heading(metric, what), names)


def interval_cell(metric: str, value: float, low: float, high: float) -> Cell:
    """A difference and its interval, in the metric's unit; NaN where there is none."""
    values = tuple(None if number != number else METRICS[metric].shown(number) for number in (value, low, high))
    if values[0] is None:
        return Cell(NO_CASE, values)
    limits = "" if values[1] is None or values[2] is None else f" [{values[1]:+.2f}, {values[2]:+.2f}]"
    return Cell(f"{values[0]:+.2f}{limits}", values)


def markdown(table: Table) -> str:
    """Heading, caption and table in Markdown."""
    return "\n".join([f"## {table.title}", "", table.caption, "", *markdown_lines(table), ""])


def markdown_lines(table: Table) -> list[str]:
    """The table alone."""
    rule = "|" + ":---|" * table.labels + "---:|" * (len(table.columns) - table.labels)
    rows = [[cell.text for cell in row] for row in table.rows]
    return [_line([column.heading for column in table.columns]), rule, *map(_line, rows)]


def csv_text(table: Table) -> str:
    """The values in full precision, a line a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([part for column in table.columns for part in column.parts])
    writer.writerows([["" if v is None else v for cell in row for v in cell.values] for row in table.rows])
    return text.getvalue()


def _heading(metric: str, what: str) -> str:
    return f"{METRICS[metric].label} {what}, {METRICS[metric].unit}"


def _line(cells: Sequence[str]) -> str:
    """A row of Markdown; what would end a cell is escaped."""
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
