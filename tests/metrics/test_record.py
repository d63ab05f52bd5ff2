"""An evaluation that is kept case by case."""

from __future__ import annotations

import hashlib
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
def cases(tmp_path):
    """Entries of a datalist by one-letter names, whose files lie in a folder and are made where they are not there."""

    def make(names: str, folder: str = "data") -> list[dict[str, str]]:
        (tmp_path / folder).mkdir(exist_ok=True)
        made = []
        for name in names:
            files = {key: tmp_path / folder / f"{name}_{key}.nii" for key in ("flair", "label")}
            for key, file in files.items():
                if not file.exists():
                    file.write_text(f"{name} {key}")
            made.append({"case": name, **{key: str(file) for key, file in files.items()}})
        return made

    return make


@pytest.fixture
def record(tmp_path):
    """Make a record in one and the same folder."""

    def make(**settings) -> EvaluationRecord:
        return EvaluationRecord(output_dir=tmp_path, spec=BRATS2020, settings=SETTINGS | settings)

    return make


@pytest.fixture
def written(tmp_path):
    return lambda: [(tmp_path / name).read_bytes() for name in ("metrics.csv", "summary.json")]


def test_two_runs_write_what_one_writes(record, written, cases):
    whole = record()
    assert whole.open(cases("abc"), WEIGHTS) == set()
    for case, dice in zip("abc", (0.1, 1 / 3, 0.7), strict=True):
        whole.add(case, scores(dice))
    whole.write()
    expected = written()

    for path in (whole.output_dir / "cases").iterdir():
        path.unlink()
    first = record()
    first.open(cases("abc"), WEIGHTS)
    first.add("b", scores(1 / 3))
    second = record()
    assert second.open(cases("abc"), WEIGHTS) == {"b"}
    second.add("c", scores(0.7))
    second.add("a", scores(0.1))
    second.write()
    assert written() == expected


def test_the_summary_says_how_it_was_made(record, written, cases):
    made = record()
    made.open(cases("a"), WEIGHTS)
    made.add("a", scores(0.5))
    made.write()
    summary = json.loads(written()[1])
    assert summary["run"] == {
        "weights": WEIGHTS,
        "policy": "nan",
        "overlap": 0.5,
        "spacing": [1.0, 1.0],
        "files": summary["run"]["files"],
    }
    assert summary["run"]["files"]["a"]["label"] == hashlib.sha256(b"a label").hexdigest()
    assert summary["subsets"]["flair"]["dice"] == {"WT": 0.5, "ET": None}
    assert summary["complete_cases"]["n"] == 0


class TestWhatIsNotDone:
    @pytest.fixture
    def done(self, record, cases):
        made = record()
        made.open(cases("ab"), WEIGHTS)
        made.add("a", scores(0.5))

    def test_other_settings_start_anew_and_say_why(self, done, record, cases, caplog):
        with caplog.at_level("INFO"):
            assert record(overlap=0.25).open(cases("ab"), WEIGHTS) == set()
        assert (
            "1 cases were scored with other settings (overlap was 0.5, now 0.25); they are scored anew" in caplog.text
        )

    def test_what_an_earlier_version_did_not_tell_was_none(self, done, record, cases, caplog):
        assert record(min_component_share=0.0, mirror_axes=[]).open(cases("ab"), WEIGHTS) == {"a"}
        with caplog.at_level("INFO"):
            assert record(min_component_share=0.3).open(cases("ab"), WEIGHTS) == set()
        assert "(min_component_share was 0.0, now 0.3)" in caplog.text

    def test_other_weights_start_anew_wherever_they_lie(self, done, record, cases, caplog):
        with caplog.at_level("INFO"):
            assert record().open(cases("ab"), WEIGHTS | {"sha256": "def"}) == set()
        assert "(weights was abc, now def)" in caplog.text
        assert record().open(cases("ab"), WEIGHTS | {"path": "moved.pt"}) == {"a"}

    def test_a_damaged_file_counts_as_not_there(self, done, record, cases, tmp_path):
        (tmp_path / "cases" / "a.json").write_text('{"made_with": {')
        assert record().open(cases("ab"), WEIGHTS) == set()

    def test_cases_that_are_not_asked_for_are_left_out(self, done, record, cases):
        assert record().open(cases("b"), WEIGHTS) == set()


class TestReplacedFiles:
    """Files that hold something else under the names that were scored."""

    @pytest.fixture
    def done(self, record, cases):
        made = record()
        made.open(cases("ab"), WEIGHTS)
        for case in "ab":
            made.add(case, scores(0.5))

    @pytest.mark.parametrize("key", ["flair", "label"])
    def test_the_case_alone_is_scored_anew_and_the_file_is_named(self, done, record, cases, tmp_path, caplog, key):
        (tmp_path / "data" / f"a_{key}.nii").write_text("replaced")
        with caplog.at_level("INFO"):
            assert record().open(cases("ab"), WEIGHTS) == {"b"}
        assert f"a: {key} is not what it was scored from; it is scored anew" in caplog.text

    def test_labels_of_another_folder_count_by_what_they_hold(self, done, record, cases, tmp_path):
        other = cases("ab", "other")
        assert record().open(other, WEIGHTS) == {"a", "b"}
        (tmp_path / "other" / "b_label.nii").write_text("of another reader")
        assert record().open(other, WEIGHTS) == {"a"}

    def test_a_sequence_that_came_or_went_counts(self, done, record, cases, caplog):
        less = [{key: file for key, file in case.items() if key != "flair"} for case in cases("ab")]
        with caplog.at_level("INFO"):
            assert record().open(less, WEIGHTS) == set()
        assert "b: flair is not what it was scored from" in caplog.text

    def test_a_record_without_hashes_is_not_trusted(self, done, record, cases, tmp_path, caplog):
        path = tmp_path / "cases" / "a.json"
        content = json.loads(path.read_text())
        del content["files"]
        path.write_text(json.dumps(content))
        with caplog.at_level("INFO"):
            assert record().open(cases("ab"), WEIGHTS) == {"b"}
        assert "a: its record does not tell which files were scored; it is scored anew" in caplog.text

    def test_a_file_that_cannot_be_read_is_not_done(self, done, record, cases, tmp_path):
        listed = cases("ab")
        (tmp_path / "data" / "a_label.nii").unlink()
        assert record().open(listed, WEIGHTS) == {"b"}


def test_what_was_missed_is_kept(record, cases):
    first = record()
    first.open(cases("a"), WEIGHTS)
    nan = {"WT": {"dice": math.nan}}
    first.add("a", {"flair": CaseScores(nan, {"WT": "one"}, ("WT",)), "t1": CaseScores(nan, {"WT": "one"})})
    second = record()
    assert second.open(cases("a"), WEIGHTS) == {"a"}
    second.write()
    summary = json.loads((second.output_dir / "summary.json").read_text())
    assert summary["subsets"]["flair"]["missed"] == {"WT": {"missed": 1, "of": 1}}
    assert summary["subsets"]["t1"]["missed"] == {"WT": {"missed": 0, "of": 0}}
