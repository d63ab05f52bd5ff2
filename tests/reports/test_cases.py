"""Which cases are drawn, and what of them."""

from __future__ import annotations

import io
import shutil

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from passion_components.reports.cases import (
    NoPictures,
    best_median_worst,
    case_pictures,
    chosen_subsets,
    ranked_cases,
)
from passion_components.reports.figures import COLOURS
from passion_components.reports.runs import read_run

FULL = "t1+flair+t1ce"


def entry(dice) -> dict:
    return {"n": 1, "dice": {"WT": dice}}


class TestChoice:
    def test_subsets_are_all_together_the_best_alone_and_the_worst(self):
        subsets = {"t1": entry(0.2), "flair": entry(0.7), "t1ce": entry(0.4), "t1+flair": entry(0.9), FULL: entry(0.1)}
        assert chosen_subsets({"modalities": ["t1", "flair", "t1ce"], "subsets": subsets}) == [FULL, "flair", "t1"]

    def test_subsets_without_cases_are_left_out(self):
        subsets = {"t1": entry(None), "flair": entry(0.7), FULL: entry(None)}
        assert chosen_subsets({"modalities": ["t1", "flair", "t1ce"], "subsets": subsets}) == ["flair"]

    def test_cases_are_ranked_by_mean_dice(self, pictured):
        ranked = ranked_cases([read_run(pictured, "r")], [FULL, "t1"])
        assert list(ranked) == ["b", "a"] and ranked["b"] == pytest.approx(0.8)

    def test_a_case_without_a_prediction_is_not_ranked(self, pictured):
        (pictured / "predictions" / "b" / "b_t1_seg.nii.gz").unlink()
        assert list(ranked_cases([read_run(pictured, "r")], [FULL, "t1"])) == ["a"]

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ("abcde", {"a": "best", "c": "median", "e": "worst"}),
            ("abc", {"a": "best", "b": "median", "c": "worst"}),
            ("ab", {"a": "best", "b": "worst"}),
            ("a", {"a": "best"}),
        ],
    )
    def test_best_median_and_worst(self, names, expected):
        assert best_median_worst(dict.fromkeys(names, 0.5)) == expected


class TestPictures:
    def test_show_contours_of_the_reference_and_of_every_run(self, pictured):
        shutil.rmtree(pictured / "predictions" / "a")
        run = read_run(pictured, "r")
        (picture,), failures = case_pictures([run, run])
        pixels = imread(io.BytesIO(picture.png), format="png")[..., :3]
        contour = (np.abs(pixels - to_rgb(COLOURS[0])).max(-1) < 0.1)[: int(0.9 * len(pixels))].any(0)
        quarters = np.array_split(contour, 4)
        assert picture.columns == 4 and not failures
        assert [bool(part.any()) for part in quarters] == [False, True, True, True]

    def test_say_in_words_what_they_show(self, pictured):
        shutil.rmtree(pictured / "predictions" / "a")
        (picture,), _ = case_pictures([read_run(pictured, "r")])
        assert picture.case == "b" and "Slice 3 of 4 of case b" in picture.text
        assert "r from t1+flair+t1ce: mean Dice 90.0 %" in picture.text

    def test_a_case_that_cannot_be_drawn_is_said_and_the_others_are_drawn(self, pictured):
        path = pictured / "predictions" / "b" / f"b_{FULL}_seg.nii.gz"
        nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), path)
        pictures, failures = case_pictures([read_run(pictured, "r")])
        assert [picture.case for picture in pictures] == ["a"]
        assert len(failures) == 1 and failures[0].startswith("b: its files lie on different grids")

    def test_a_case_that_left_the_datalist_is_said(self, pictured):
        shutil.rmtree(pictured / "predictions" / "a")
        path = pictured.parent / "data" / "datalist.json"
        path.write_text(path.read_text().replace('"case": "b"', '"case": "d"'))
        _, failures = case_pictures([read_run(pictured, "r")])
        assert failures and "the evaluated datalist lists no" in failures[0]

    def test_without_predictions_it_is_said_how_to_make_them(self, make_run):
        with pytest.raises(NoPictures, match="--save_predictions True"):
            case_pictures([read_run(make_run("a", {"P1": 0.5}), "a")])

    def test_without_the_datalist_it_is_said(self, pictured):
        (pictured.parent / "data" / "datalist.json").unlink()
        with pytest.raises(NoPictures, match="The evaluated images cannot be found: .*datalist.json: no such datalist"):
            case_pictures([read_run(pictured, "r")])
