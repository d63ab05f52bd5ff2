"""Label maps in files, paired by case and scored."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest

from passion_components.datasets import BRATS2020
from passion_components.metrics.label_maps import COLUMN, pair_label_maps, score_pairs


def tumour(*, shift: int = 0, code: int = 2) -> np.ndarray:
    """A cube of 2 x 2 x 2 voxels in 8 x 6 x 4."""
    array = np.zeros((8, 6, 4), dtype=np.int16)
    array[1 + shift : 3 + shift, 1:3, 1:3] = code
    return array


@pytest.fixture
def write(tmp_path):
    def make(name: str, array: np.ndarray, spacing=(2.0, 1.0, 1.0)) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)

    return make


@pytest.fixture
def score(tmp_path):
    def run(metrics=("dice", "hd95"), policy="brats"):
        pairs = pair_label_maps(tmp_path / "pred", tmp_path / "label")
        book, failures = score_pairs(pairs, BRATS2020, policy=policy, metrics=metrics)
        return {(row.case, row.region, row.metric): row.value for row in book.rows()}, failures

    return run


class TestPairs:
    def test_files_meet_by_case_however_they_are_named(self, write, tmp_path):
        for name in (
            "pred/a.nii.gz",
            "pred/b/b.nii",
            "label/a/a_seg.nii.gz",
            "label/a/a_flair.nii.gz",
            "label/b-seg.nii",
        ):
            write(name, tumour())
        pairs = pair_label_maps(tmp_path / "pred", tmp_path / "label")
        assert {case: [file.name for file in files] for case, files in pairs.files.items()} == {
            "a": ["a.nii.gz", "a_seg.nii.gz"],
            "b": ["b.nii", "b-seg.nii"],
        }
        assert pairs.without_label == pairs.unpredicted == []

    def test_what_has_no_partner_is_told(self, write, tmp_path):
        for name in ("pred/a.nii.gz", "pred/c.nii.gz", "label/a_seg.nii.gz", "label/d_seg.nii.gz"):
            write(name, tumour())
        pairs = pair_label_maps(tmp_path / "pred", tmp_path / "label")
        assert list(pairs.files) == ["a"]
        assert (pairs.without_label, pairs.unpredicted) == (["c"], ["d"])

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (["label/a.nii.gz"], "pred: no such folder"),
            (["pred/notes.nii.txt", "label/a.nii.gz"], "pred: holds no NIfTI file"),
            (["pred/x/a.nii.gz", "pred/y/a.nii.gz", "label/a.nii.gz"], "case a occurs twice"),
            (
                ["pred/a/seg.nii", "pred/b/seg.nii", "label/a.nii"],
                "case seg occurs twice.* name every file after its case",
            ),
            (["pred/a.nii.gz", "label/b.nii.gz"], r"no case is both in .*pred \(a\) and in .*label \(b\)"),
        ],
    )
    def test_folders_that_cannot_be_paired_are_refused(self, write, tmp_path, files, message):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".txt"):
                (tmp_path / name).write_text("")
            else:
                write(name, tumour())
        with pytest.raises(ValueError, match=message):
            pair_label_maps(tmp_path / "pred", tmp_path / "label")


class TestScores:
    def test_are_those_of_the_regions_in_millimetres(self, write, score):
        write("pred/a.nii.gz", tumour(shift=1))
        write("label/a.nii.gz", tumour())
        scores, failures = score(metrics=("dice", "hd"))
        assert failures == []
        assert scores["a", "WT", "dice"] == 0.5 and scores["a", "WT", "hd"] == 2.0
        assert scores["a", "ET", "dice"] == 1.0

    def test_codes_are_those_of_the_data_set(self, write, score):
        write("pred/a.nii.gz", tumour(code=4).astype(np.float32))
        write("label/a.nii.gz", tumour(code=1))
        scores, _ = score()
        assert (scores["a", "TC", "dice"], scores["a", "ET", "dice"], scores["a", "ET", "hd95"]) == (1.0, 0.0, 373.13)

    @pytest.mark.parametrize(
        ("array", "spacing", "message"),
        [
            (
                tumour(code=3),
                (2, 1, 1),
                r"b: .*pred/b.nii.gz holds the labels 3; accepted: 0, 1, 2, 4; .*--label-scheme$",
            ),
            (
                tumour()[1:],
                (2, 1, 1),
                r"b: .* different grids: .*pred/b.nii.gz 7 x 6 x 4 .*label/b_seg.nii.gz 8 x 6 x 4.*; "
                r"accepted: one grid per case: bring the prediction to the grid of its label",
            ),
            (tumour(), (1, 1, 1), r"b: .* different grids: .*1.00 x 1.00 x 1.00 mm.*2.00 x 1.00 x 1.00 mm"),
        ],
    )
    def test_a_case_that_cannot_be_scored_is_told_and_the_others_are_done(self, write, score, array, spacing, message):
        for case in "abc":
            write(f"label/{case}_seg.nii.gz", tumour())
            write(f"pred/{case}.nii.gz", tumour())
        write("pred/b.nii.gz", array, spacing)
        scores, failures = score()
        assert {case for case, _, _ in scores} == {"a", "c"}
        (line,) = failures
        assert re.fullmatch(f"{message}.*", line)

    def test_the_record_names_no_sequences(self, write, tmp_path):
        write("pred/a.nii.gz", tumour())
        write("label/a.nii.gz", tumour())
        book, _ = score_pairs(
            pair_label_maps(tmp_path / "pred", tmp_path / "label"), BRATS2020, policy="nan", metrics=["dice"]
        )
        assert {row.subset for row in book.rows()} == {COLUMN}
        assert book.summary()["overall"] == {"n": 1, "dice": 1.0}
