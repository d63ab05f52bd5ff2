"""``--dataset FILE.json``: every command serves a data set that nobody has heard of."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from passion_components.cli import app, main
from passion_components.data.lists.datalist import Datalist, write_datalist
from passion_components.datasets import BRATS2020, DATASETS, dataset_spec

STROKE = {
    "name": "stroke",
    "modalities": {"dwi": ["trace"], "adc": []},
    "label_words": ["msk"],
    "classes": ["background", "infarct"],
    "label_codes": {"0": "background", "5": "infarct"},
    "spatial_dims": 3,
    "spacing": [1, 1, 1],
    "crop": [8, 8, 8],
}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(result) -> list[list[str]]:
    return [line.replace("│", " ").split() for line in result.output.splitlines()]


@pytest.fixture
def own(tmp_path):
    """A folder with four patients of two sequences, one of them without adc, and the file that describes them."""
    rng = np.random.default_rng(0)
    for number in range(4):
        label = np.zeros((8, 8, 8), np.uint8)
        label[2:5, 2:5, 2 + number] = 5
        images = {"trace": rng.normal(size=label.shape), "adc": rng.normal(size=label.shape), "msk": label}
        for word, array in images.items():
            if (number, word) != (3, "adc"):
                path = tmp_path / f"scans/P{number}/P{number}_{word}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), path)
    (tmp_path / "own.json").write_text(json.dumps(STROKE))
    return tmp_path


@pytest.fixture
def prepared(own):
    split = ("--split", "training=2,validation=1,test=1")
    result = run("prepare", own / "scans", "--dataset", own / "own.json", "--out", own / "data", *split)
    assert result.exit_code == 0, result.output
    return own


def test_prepare_reads_names_and_codes_by_the_file_and_the_datalist_names_it(prepared):
    path = prepared / "data/datalist.json"
    assert json.loads(path.read_text())["dataset"] == str(prepared / "own.json")
    assert Datalist(path).dataset() == dataset_spec(prepared / "own.json")
    cases = {case["case"]: case for part in Datalist(path).parts(("dwi", "adc")).values() for case in part}
    assert set(cases) == {"P0", "P1", "P2", "P3"} and set(cases["P3"]) == {"case", "dwi", "label"}


def test_the_other_commands_take_it_from_the_datalist(prepared):
    datalist = prepared / "data/datalist.json"
    result = run("check", datalist, "--jobs", 1)
    assert result.exit_code == 0 and "4 cases, 11 files: errors: 0" in result.output
    result = run("simulate-missing", datalist, "--rates", "dwi=0,adc=.5", "--out", prepared / "missing.json")
    assert result.exit_code == 0, result.output
    assert ["dwi", "0.000", "0.000", "2"] in rows(result)
    assert Datalist(prepared / "missing.json").dataset() == dataset_spec(prepared / "own.json")
    assert run("check", prepared / "missing.json", "--jobs", 1).exit_code == 0


def test_a_data_set_that_is_given_comes_before_that_of_the_datalist(prepared):
    result = run("check", prepared / "data/datalist.json", "--dataset", "brats2020", "--jobs", 1)
    assert "unknown label scheme 'stroke' of brats2020" in str(result.exception)


def test_evaluate_pairs_by_its_words_and_scores_its_codes(own):
    arguments = ("--dataset", own / "own.json", "--metrics", "dice", "--out", own / "out")
    result = run("evaluate", "--pred", own / "scans", "--label", own / "scans", *arguments)
    assert result.exit_code == 0 and "| infarct | 100.00 | 4 |" in result.output
    assert json.loads((own / "out/summary.json").read_text())["dataset"] == "stroke"


def test_tables_and_report_refuse_scores_of_another_data_set(own):
    run(
        "evaluate", "--pred", own / "scans", "--label", own / "scans", "--dataset", own / "own.json", "--out", own / "r"
    )
    for command in (["tables"], ["report", "--out", own / "report.html"]):
        refused = run(*command, own / "r", "--dataset", "brats2020")
        assert "r: was scored on stroke, not on brats2020; leave it out" in str(refused.exception)
        assert not isinstance(run(*command, own / "r", "--dataset", own / "own.json").exception, ValueError)


@pytest.mark.parametrize(
    "command",
    [
        ["prepare", ".", "--out", "x"],
        ["check", "d.json"],
        ["simulate-missing", "d.json", "--rates", "dwi=0", "--out", "x.json"],
        ["evaluate", "--pred", ".", "--label", "."],
        ["tables", "."],
        ["report", ".", "--out", "x.html"],
    ],
)
def test_every_command_refuses_a_wrong_file_in_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.json").write_text(json.dumps(STROKE | {"spatial_dims": 5}))
    write_datalist(tmp_path / "d.json", {"test": []})
    monkeypatch.setattr(sys, "argv", ["passion", *command, "--dataset", "wrong.json"])
    with pytest.raises(SystemExit) as stop:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and len(lines) == 1
    assert lines[0] == "error: wrong.json: spatial_dims must be 3, or 2 where slices are the samples, got 5"


class TestPrepare:
    def test_without_a_data_set_it_says_how_to_make_one(self, own, capsys, monkeypatch):
        result = run("prepare", own / "scans", "--out", own / "data")
        message = str(result.exception)
        assert "which data set is it? add --dataset" in message and f"new-dataset --from {own / 'scans'}" in message

    def test_slices_are_known_by_what_lies_there(self, tmp_path):
        run("phantom", "lgg", "--cases", 2, "--size", "16,16,16", "--out", tmp_path / "lgg")
        result = run("prepare", tmp_path / "lgg", "--out", tmp_path / "data")
        assert result.exit_code == 0 and "2 patients, 16 slices" in result.output
        assert Datalist(tmp_path / "data/datalist.json").dataset() == DATASETS["tcga_lgg"]

    @pytest.mark.parametrize("words", [["brats"], ["lgg", "a", "b"], ["brat", "a"]])
    def test_other_words_are_refused(self, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        message = str(run("prepare", *words, "--out", "x").exception)
        assert message.startswith(" ".join(words)) and "SRC" in message


class TestDatalists:
    @pytest.mark.parametrize("named", [3, ["a"], "brats", {}])
    def test_what_names_no_data_set_is_refused(self, named, tmp_path):
        (tmp_path / "d.json").write_text(json.dumps({"dataset": named, "training": []}))
        with pytest.raises(
            ValueError, match="d.json: dataset must be brats2020, brats2021, myops2020, tcga_lgg or the path of a"
        ):
            Datalist(tmp_path / "d.json").dataset()

    def test_a_file_that_is_gone_is_told_with_the_datalist(self, tmp_path):
        (tmp_path / "d.json").write_text(json.dumps({"dataset": "gone.json", "training": []}))
        with pytest.raises(FileNotFoundError, match="d.json: names the data set gone.json, which does not exist"):
            Datalist(tmp_path / "d.json").dataset()

    def test_files_below_are_named_relative_to_it(self, own):
        spec = dataset_spec(own / "own.json")
        content = json.loads(write_datalist(own / "d.json", {"test": []}, dataset=spec).read_text())
        assert content == {"dataset": "own.json", "test": []} and Datalist(own / "d.json").dataset() == spec
        assert json.loads(write_datalist(own / "b.json", {}, dataset=BRATS2020).read_text()) == {"dataset": "brats2020"}
