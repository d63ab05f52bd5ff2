"""One more metric in ``METRICS`` is measured, written, tabulated and drawn, and nothing else is told of it."""

import csv
import json

import numpy as np
import pytest

from passion_components.metrics import METRICS, Metric, ScoreBook, score_predictions
from passion_components.reports import subset_table_markdown
from passion_components.reports.cells import markdown
from passion_components.reports.comparison import settings_of
from passion_components.reports.layouts import comparison_tables
from passion_components.reports.report import report_html
from passion_components.reports.runs import read_runs


@pytest.fixture
def volume(monkeypatch):
    """Difference of two volumes, in mm^3 in files and in ml in tables."""
    metric = Metric(
        name="volume",
        label="Volume difference",
        unit="ml",
        factor=0.001,
        more_is_better=False,
        value=lambda pair: float(abs(pair.prediction.count - pair.target.count) * np.prod(pair.target.spacing)),
        both_empty=0.0,
        one_empty={"brats": 5000.0, "published": 4000.0},
    )
    monkeypatch.setitem(METRICS, metric.name, metric)


@pytest.fixture
def folders(volume, tmp_path):
    """Two runs of three cases: 2 x 2 x 2 voxels of 30 mm^3 are predicted as 3 x 2 x 2, then as nothing."""
    target = np.zeros((6, 6, 6), np.uint8)
    target[:2, :2, :2] = 1
    predictions = np.zeros((2, *target.shape), np.uint8)
    predictions[0, :3, :2, :2] = 1
    scores = score_predictions(predictions, target, {"lesion": (1,)}, (1, 5, 6), metrics=("dice", "volume"))
    for name, of_run in zip("ab", scores, strict=True):
        book = ScoreBook(dataset="tcga_lgg", modalities=("t1", "flair", "t1ce"))
        for case in ("P1", "P2"):
            book.add_case(case, {"t1": of_run, "flair": of_run})
        book.write_csv(tmp_path / name / "metrics.csv")
        book.write_json(tmp_path / name / "summary.json")
    return [tmp_path / name for name in "ab"]


def test_it_is_in_the_files_of_an_evaluation(folders):
    for folder, expected in zip(folders, (120.0, 5000.0), strict=True):
        with open(folder / "metrics.csv", newline="") as file:
            values = {float(row["value"]) for row in csv.DictReader(file) if row["metric"] == "volume"}
        summary = json.loads((folder / "summary.json").read_text())
        assert values == {expected} and summary["overall"]["volume"] == expected
        assert summary["metrics"] == ["dice", "volume"]


def test_it_is_in_the_table_in_its_unit_with_what_empty_masks_score(folders):
    summary = json.loads((folders[0] / "summary.json").read_text())
    table = subset_table_markdown(summary, summary["modalities"])
    assert "| **Volume difference, ml** |" in table and "| lesion | 0.12 | 0.12 | – |" in table
    assert "one empty Dice 0 %, Volume difference 5 ml" in table


def test_it_is_in_the_tables_of_runs(folders):
    tables = {table.name: table for table in comparison_tables(settings_of(read_runs(list(map(str, folders)))))}
    assert {"table3_volume", "counts_volume"} <= tables.keys()
    assert "Volume difference lesion, ml" in markdown(tables["table1"])
    assert tables["differences"].rows[0][-1].text == "+4.88 [+4.88, +4.88]"
    assert tables["differences"].caption.endswith("Better is more Dice, less Volume difference.")


def test_it_is_in_the_report(folders):
    page = report_html(read_runs(list(map(str, folders))))
    assert "Volume difference lesion, ml" in page and "Volume difference, ml: mean over subsets" in page
