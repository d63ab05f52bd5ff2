"""An evaluation that is kept case by case."""

from __future__ import annotations

import json
import math

import pytest

from passion_components.datasets import BRATS2020
from passion_components.metrics import CaseScores
from passion_components.metrics.record import EvaluationRecord

WEIGHTS = {"path": "model.pt", "sha256": "abc"}
SETTINGS = {"policy": "nan", "overlap": 0.5, "spacing": (1.0, 1.0)}


def scores(dice: float) -> dict[str, CaseScores]:
    values = {"WT": {"dice": dice}, "ET": {"dice": math.nan}}
    return {"flair": CaseScores(values, {"ET": "both"}), "flair+t1": CaseScores(values, {"ET": "both"})}


@pytest.fixture
def record(tmp_path):
    """Make a record in one and the same folder."""

    def make(**settings) -> EvaluationRecord:
        return EvaluationRecord(output_dir=tmp_path, spec=BRATS2020, settings=SETTINGS | settings)

    return make


@pytest.fixture
def written(tmp_path):
    return lambda: [(tmp_path / name).read_bytes() for name in ("metrics.csv", "summary.json")]


def test_two_runs_write_what_one_writes(record, written):
    whole = record()
    assert whole.open("abc", WEIGHTS) == set()
    for case, dice in zip("abc", (0.1, 1 / 3, 0.7), strict=True):
        whole.add(case, scores(dice))
    whole.write()
    expected = written()

    for path in (whole.output_dir / "cases").iterdir():
        path.unlink()
    first = record()
    first.open("abc", WEIGHTS)
    first.add("b", scores(1 / 3))
    second = record()
    assert second.open("abc", WEIGHTS) == {"b"}
    second.add("c", scores(0.7))
    second.add("a", scores(0.1))
    second.write()
    assert written() == expected


def test_the_summary_says_how_it_was_made(record, written):
    made = record()
    made.open("a", WEIGHTS)
    made.add("a", scores(0.5))
    made.write()
    summary = json.loads(written()[1])
    assert summary["run"] == {"weights": WEIGHTS, "policy": "nan", "overlap": 0.5, "spacing": [1.0, 1.0]}
    assert summary["subsets"]["flair"]["dice"] == {"WT": 0.5, "ET": None}
    assert summary["complete_cases"]["n"] == 0


class TestWhatIsNotDone:
    @pytest.fixture
    def done(self, record):
        made = record()
        made.open("ab", WEIGHTS)
        made.add("a", scores(0.5))

    def test_other_settings_start_anew_and_say_why(self, done, record, caplog):
        with caplog.at_level("INFO"):
            assert record(overlap=0.25).open("ab", WEIGHTS) == set()
        assert (
            "1 cases were scored with other settings (overlap was 0.5, now 0.25); they are scored anew" in caplog.text
        )

    def test_other_weights_start_anew_wherever_they_lie(self, done, record, caplog):
        with caplog.at_level("INFO"):
            assert record().open("ab", WEIGHTS | {"sha256": "def"}) == set()
        assert "(weights was abc, now def)" in caplog.text
        assert record().open("ab", WEIGHTS | {"path": "moved.pt"}) == {"a"}

    def test_a_damaged_file_counts_as_not_there(self, done, record, tmp_path):
        (tmp_path / "cases" / "a.json").write_text('{"made_with": {')
        assert record().open("ab", WEIGHTS) == set()

    def test_cases_that_are_not_asked_for_are_left_out(self, done, record):
        assert record().open("b", WEIGHTS) == set()
