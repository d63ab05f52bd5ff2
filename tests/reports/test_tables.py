"""The table of all subsets."""

from __future__ import annotations

import pytest

from passion_components.metrics import ScoreBook
from passion_components.reports import subset_table_markdown
from passion_components.reports.tables import region_table_markdown

TABLE = """\
toy, 2 cases; ● given, ○ withheld. n: cases that have the subset; Avg.: mean over subsets, its n their sum. \
Empty masks by policy `brats`: both empty Dice 100 %, HD95 0 mm; one empty Dice 0 %, HD95 373.13 mm; \
scores so decided are counted as both / one empty.

| t1 | ● | ○ | ● | Avg. |
|:---|---:|---:|---:|---:|
| t2 | ○ | ● | ● |  |
| **Dice, %** |  |  |  |  |
| WT | 30.00 | – | 90.00 | 60.00 |
| ET | 12.35 | – | 50.00 | 31.17 |
| **HD95, mm** |  |  |  |  |
| WT | 20.00 | – | 1.00 | 10.50 |
| ET | 4.00 | – | 2.00 | 3.00 |
| n | 2 | 0 | 1 | 3 |
| WT both / one empty | 0 / 0 | 0 / 0 | 0 / 0 | 0 / 0 |
| ET both / one empty | 1 / 1 | 0 / 0 | 0 / 0 | 1 / 1 |

The same over the cases that have every modality (1):

| t1 | ● | ○ | ● | Avg. |
|:---|---:|---:|---:|---:|
| t2 | ○ | ● | ● |  |
| **Dice, %** |  |  |  |  |
| WT | 20.00 | – | 90.00 | 55.00 |
| ET | 12.35 | – | 50.00 | 31.17 |
| **HD95, mm** |  |  |  |  |
| WT | 10.00 | – | 1.00 | 5.50 |
| ET | 4.00 | – | 2.00 | 3.00 |
| n | 1 | 0 | 1 | 2 |
| WT both / one empty | 0 / 0 | 0 / 0 | 0 / 0 | 0 / 0 |
| ET both / one empty | 0 / 1 | 0 / 0 | 0 / 0 | 0 / 1 |
"""


@pytest.fixture
def summary() -> dict:
    book = ScoreBook(dataset="toy", modalities=("t1", "t2"))
    et = {"dice": 0.12345, "hd95": 4.0}
    book.add("a", ("t1",), {"WT": {"dice": 0.2, "hd95": 10.0}, "ET": et}, {"ET": "one"})
    book.add("b", ("t1",), {"WT": {"dice": 0.4, "hd95": 30.0}, "ET": et}, {"ET": "both"})
    book.add("a", ("t1", "t2"), {"WT": {"dice": 0.9, "hd95": 1.0}, "ET": {"dice": 0.5, "hd95": 2.0}})
    return book.summary()


class TestSubsetTable:
    def test_text_is_that_of_the_papers_layout(self, summary):
        assert subset_table_markdown(summary, ("t1", "t2")) == TABLE

    def test_order_of_modalities_is_the_callers(self, summary):
        lines = subset_table_markdown(summary, ("t2", "t1")).splitlines()
        assert lines[2] == "| t2 | ● | ○ | ● | Avg. |"
        assert "| WT | – | 30.00 | 90.00 | 60.00 |" in lines

    def test_misses_that_enter_no_mean_stand_beside_it(self):
        """Of three cases with the region one is missed; a fourth case has none, and something is found in it."""
        book = ScoreBook(dataset="toy", modalities=("t1",), policy="nan")
        nan = float("nan")
        for case, dice in (("a", 0.8), ("b", 0.6)):
            book.add(case, ("t1",), {"WT": {"dice": dice}})
        book.add("c", ("t1",), {"WT": {"dice": nan}}, {"WT": "one"}, ["WT"])
        book.add("d", ("t1",), {"WT": {"dice": nan}}, {"WT": "one"})
        summary = book.summary()
        lines = subset_table_markdown(summary, ("t1",)).splitlines()
        assert "| WT | 70.00 | 70.00 |" in lines and "| WT missed | 1 of 3 | 1 of 3 |" in lines
        assert "| WT | 70.00 | 4 | 0 / 2 | 1 of 3 |" in region_table_markdown(summary).splitlines()
        assert summary["subsets"]["t1"]["missed"] == {"WT": {"missed": 1, "of": 3}}

    def test_every_row_has_a_column_per_subset_and_two_more(self):
        names = ("flair", "t1ce", "t1", "t2")
        book = ScoreBook(dataset="toy", modalities=names, policy="published")
        book.add("a", names, {"WT": {"dice": 0.5}})
        caption, _, *rows = subset_table_markdown(book.summary(), names).splitlines()
        assert {row.count("|") - 1 for row in rows} == {2**4 - 1 + 2}
        assert "policy `published`" in caption and "HD95, mm" not in "".join(rows)

    def test_without_incomplete_cases_there_is_one_table_and_nan_is_explained(self):
        book = ScoreBook(dataset="toy", modalities=("t1",), policy="nan")
        book.add("a", ("t1",), {"WT": {"dice": float("nan")}}, {"WT": "one"})
        table = subset_table_markdown(book.summary(), ("t1",))
        assert "policy `nan`: both empty in no mean; one empty in no mean" in table
        assert table.count("| t1 |") == 1 and "| WT | – | – |" in table

    def test_foreign_modalities_are_refused(self, summary):
        with pytest.raises(ValueError, match="expected the modalities t1, t2, got t1, pd"):
            subset_table_markdown(summary, ("t1", "pd"))
