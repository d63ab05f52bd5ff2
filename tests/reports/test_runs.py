"""Reading the folder of a run."""

from __future__ import annotations

import json

import pytest

from passion_components.reports.runs import RunError, ScoreKey, read_run, read_runs


def replace(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


class TestReadRun:
    def test_scores_and_curves_are_those_of_the_files(self, make_run):
        run = read_run(make_run("a", {"P1": 0.5}), "a")
        assert run.scores[ScoreKey("P1", "t1+flair", "lesion", "dice")] == pytest.approx(0.4)
        assert run.training.history["loss"] == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
        assert run.training.preference["rp"]["t1ce"] == {1: 0.1, 2: 0.2, 3: pytest.approx(0.3)}

    def test_missing_rates_stand_in_the_order_of_the_data_set(self, make_run):
        assert list(read_run(make_run("a", {"P1": 0.5}), "a").missing_rates) == ["t1", "flair", "t1ce"]

    def test_training_alone_is_a_run_without_scores(self, make_run):
        folder = make_run("a", {"P1": 0.5})
        (folder / "summary.json").unlink()
        run = read_run(folder, "a")
        assert not run.summary and not run.scores and run.trained_on["seed"] == 0

    def test_scores_in_another_folder_find_the_training_beside_their_weights(self, make_run, tmp_path):
        training, folder = make_run("a", {"P1": 0.5}), tmp_path / "scored"
        folder.mkdir()
        for name in ("metrics.csv", "summary.json"):
            (training / name).rename(folder / name)
        assert read_run(folder, "scored").training.folder == training

    def test_training_of_other_weights_than_the_scored_ones_is_left_out(self, make_run):
        folder = make_run("a", {"P1": 0.5}, sha256="22" * 32)
        run = read_run(folder, "a")
        assert run.summary and not run.training.history and not run.trained_on

    def test_scores_of_label_maps_without_weights_have_no_training(self, make_run):
        folder = make_run("a", {"P1": 0.5})
        replace(folder / "summary.json", '"weights"', '"others"')
        replace(folder / "model_last.json", '"sha256"', '"hash"')
        assert not read_run(folder, "a").trained_on

    def test_a_score_may_be_nan(self, make_run):
        folder = make_run("a", {"P1": 0.5})
        replace(folder / "metrics.csv", "P1,t1,lesion,hd95,3.0", "P1,t1,lesion,hd95,nan")
        value = read_run(folder, "a").scores[ScoreKey("P1", "t1", "lesion", "hd95")]
        assert value != value

    @pytest.mark.parametrize(
        ("file", "old", "new", "message"),
        [
            ("summary.json", "{", "[", "summary.json: cannot be read as JSON"),
            ("summary.json", '"by_count"', '"counts"', "summary.json: is not as evaluating writes it"),
            ("summary.json", '"t1+flair"', '"t1+pd"', "summary.json: is not as evaluating writes it"),
            ("summary.json", '"n": 1', '"n": "one"', "summary.json: holds values that evaluating does not write"),
            ("metrics.csv", "case,subset", "patient,subset", "expected case,subset,region,metric,value"),
            ("metrics.csv", "dice,0.5", "dice,high", "line 14: value is 'high'; expected a number"),
            ("metrics.csv", "P1,t1,lesion", "P1,lesion", "line 2 has 4 values"),
            ("metrics.csv", "P1,t1,lesion", "P1,t2,lesion", "P1, t2, lesion, dice is not in summary.json"),
            ("history.csv", "1,loss", "one,loss", "line 2: epoch is 'one'; expected a number"),
            ("history.csv", "2,loss", "nan,loss", "epoch is 'nan'; expected a number"),
            ("summary.json", '"weights": {', '"weights": 3, "x": {', "holds values that evaluating does not write"),
            ("model_last.json", '"trained_on": {', '"trained_on": 3, "x": {', "trained_on is 3; expected an object"),
        ],
    )
    def test_a_damaged_file_is_named_with_what_is_wrong(self, make_run, file, old, new, message):
        folder = make_run("a", {"P1": 0.5})
        replace(folder / file, old, new)
        with pytest.raises(RunError) as caught:
            read_run(folder, "a")
        assert message in str(caught.value) and file in str(caught.value) and "\n" not in str(caught.value)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_files_that_excel_or_notepad_has_saved_are_read(self, make_run, encoding):
        folder = make_run("a", {"P1": 0.5})
        for file in (folder / "metrics.csv", folder / "summary.json"):
            file.write_text(file.read_text(encoding="utf-8"), encoding=encoding)
        assert read_run(folder, "a").scores[ScoreKey("P1", "t1+flair", "lesion", "dice")] == pytest.approx(0.4)

    def test_an_unknown_metric_is_refused(self, make_run):
        folder = make_run("a", {"P1": 0.5})
        path = folder / "summary.json"
        path.write_text(path.read_text().replace('"hd95"', '"speed"'))
        with pytest.raises(RunError, match="metrics are dice, speed; accepted: dice, hd95"):
            read_run(folder, "a")


class TestReadRuns:
    def test_a_folder_is_called_by_its_name_or_as_told(self, make_run):
        one, other = make_run("a", {"P1": 0.5}), make_run("b", {"P1": 0.5})
        runs = read_runs([str(one), f"PASSION={other}"])
        assert [(run.name, run.named) for run in runs] == [("a", False), ("PASSION", True)]

    def test_folders_of_one_name_are_told_apart_by_their_parents(self, make_run):
        runs = read_runs([str(make_run(f"{name}/test", {"P1": 0.5})) for name in ("a", "b")])
        assert [run.name for run in runs] == ["a/test", "b/test"]

    @pytest.mark.parametrize(("name", "said"), [("", "is given twice;"), ("x=", "is given twice as 'x';")])
    def test_a_folder_that_is_given_twice_is_no_repetition(self, make_run, name, said):
        run = make_run("a", {"P1": 0.5})
        with pytest.raises(RunError, match=said):
            read_runs([f"{name}{run}", f"{name}{run}/"])
        assert [each.name for each in read_runs([f"{name}{run}", f"y={run}"])] == [name.rstrip("=") or "a", "y"]

    def test_a_missing_or_foreign_folder_is_refused(self, tmp_path):
        with pytest.raises(RunError, match="nowhere: no such folder; expected an output_dir"):
            read_runs(["nowhere"])
        (tmp_path / "x.json").write_text(json.dumps({}))
        with pytest.raises(RunError, match="holds neither summary.json nor history.csv"):
            read_runs([str(tmp_path)])
        with pytest.raises(RunError, match="expected a folder, or name=folder"):
            read_runs(["=runs"])
