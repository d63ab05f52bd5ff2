import re

import pytest

from passion_components.data.datalists import load_parts
from passion_components.data.discovery import (
    BRATS2020_LAYOUT,
    MYOPS2020_LAYOUT,
    find_cases,
    find_scan_cases,
    prepare_cases,
)
from passion_components.datasets import BRATS2020, MYOPS2020

SPLIT = {"training": 0.5, "test": 0.5}


@pytest.fixture
def make(tmp_path):
    def make_files(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make_files


def brats_case(case, keys=("flair", "t1", "t1ce", "t2", "seg"), suffix=".nii.gz"):
    return [f"{case}/{case.split('/')[-1]}_{key}{suffix}" for key in keys]


class TestBratsLayout:
    def test_every_sequence_has_its_own_file(self, make):
        root = make(*brats_case("A1"))
        expected = {key: str(root / f"A1/A1_{key}.nii.gz") for key in ("flair", "t1", "t1ce", "t2")}
        assert find_cases(root, BRATS2020_LAYOUT) == (
            [{"case": "A1", **expected, "label": str(root / "A1/A1_seg.nii.gz")}],
            [],
        )

    def test_cases_at_any_depth_compressed_or_not_sorted_by_name(self, make):
        root = make(*brats_case("HGG/deep/B_2"), *brats_case("LGG/A_1", suffix=".nii"))
        cases, problems = find_cases(root, BRATS2020_LAYOUT)
        assert [case["case"] for case in cases] == ["A_1", "B_2"] and problems == []

    def test_a_case_that_lacks_sequences_is_kept(self, make):
        cases, problems = find_cases(make(*brats_case("A", ("t1ce", "seg"))), BRATS2020_LAYOUT)
        assert [sorted(case) for case in cases] == [["case", "label", "t1ce"]] and problems == []

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (brats_case("B", ("t1", "t2")), r"B: no label map \(_seg\); left out"),
            (brats_case("B", ("seg",)), "B: a label map without any sequence; left out"),
            ([*brats_case("B"), "B/B_t1.nii"], r"B: t1 is there 2 times \(.*B_t1.nii and .*B_t1.nii.gz\).*; left out"),
            ([*brats_case("B"), *brats_case("copy/B")], "B: flair is there 2 times .*; left out"),
            (["B/W39_Segm.nii"], "W39_Segm.nii: not a name of BraTS2020; expected <case>_{flair,t1,t1ce,t2,seg}"),
        ],
    )
    def test_what_is_not_understood_is_told_and_the_rest_is_done(self, make, files, message):
        cases, problems = find_cases(make(*brats_case("A"), *files), BRATS2020_LAYOUT)
        assert [case["case"] for case in cases] == ["A"] and len(problems) == 1
        assert re.search(message, problems[0])

    def test_other_files_are_no_problem(self, make):
        assert (
            find_cases(make(*brats_case("A"), "name_mapping.csv", "A/.partial-1-A_t1.nii.gz"), BRATS2020_LAYOUT)[1]
            == []
        )

    def test_nothing_found_tells_where_and_what(self, make, tmp_path):
        with pytest.raises(FileNotFoundError, match="none: no such folder"):
            find_cases(tmp_path / "none", BRATS2020_LAYOUT)
        with pytest.raises(
            FileNotFoundError, match="no complete case like .* first of 1 problems: .*x.nii: not a name"
        ):
            find_cases(make("x.nii"), BRATS2020_LAYOUT)

    def test_preparing_writes_a_datalist_once(self, make):
        root = make(*(name for number in range(4) for name in brats_case(f"src/P{number}")))
        path, parts, problems = prepare_cases(root / "src", root / "out", BRATS2020_LAYOUT, split=SPLIT, seed=0)
        assert path == root / "out" / "datalist.json" and problems == []
        assert [len(part) for part in parts.values()] == [2, 0, 2]
        assert load_parts(path, BRATS2020.modalities) == parts
        with pytest.raises(ValueError, match="exists already; remove it first"):
            prepare_cases(root / "src", root / "out", BRATS2020_LAYOUT, split=SPLIT, seed=0)


class TestScanNames:
    @pytest.mark.parametrize(
        ("name", "modality"),
        [
            ("P_flair.nii.gz", "flair"),
            ("P_t1.nii.gz", "t1"),
            ("P_t1ce.nii", "t1ce"),
            ("P_t2.nii.gz", "t2"),
            ("BraTS-GLI-00001-000-t1n.nii.gz", "t1"),
            ("BraTS-GLI-00001-000-t1c.nii.gz", "t1ce"),
            ("BraTS-GLI-00001-000-t2w.nii.gz", "t2"),
            ("BraTS-GLI-00001-000-t2f.nii.gz", "flair"),
            ("TCGA-DU-7294_fla.nii.gz", "flair"),
            ("study1_FLAIR.NII.GZ", "flair"),
            ("study1.T1W.nii", "t1"),
            ("t2.nii", "t2"),
        ],
    )
    def test_last_word_of_the_name_tells_the_sequence(self, make, name, modality):
        root = make(f"scans/P/{name}")
        scans = find_scan_cases(root / "scans", BRATS2020)
        assert scans.cases == [{"case": "P", modality: str(root / "scans" / "P" / name)}]
        assert scans.notes == [] and scans.failures == []


class TestScanFolder:
    def test_a_folder_of_cases(self, make):
        root = make(*brats_case("B", ("t1", "flair")), *brats_case("A", ("t2",)))
        scans = find_scan_cases(root, BRATS2020)
        assert [list(case) for case in scans.cases] == [["case", "t2"], ["case", "flair", "t1"]]
        assert [case["case"] for case in scans.cases] == ["A", "B"]

    def test_one_cases_own_folder_gives_its_name(self, make, monkeypatch):
        root = make("P7/x_t1.nii", "P7/old/x_t1.nii")
        for folder in (root / "P7", "."):
            monkeypatch.chdir(root / "P7")
            scans = find_scan_cases(folder, BRATS2020)
            assert scans.cases == [{"case": "P7", "t1": str(root / "P7" / "x_t1.nii")}]
            assert scans.notes == ["old: skipped, P7 is itself a case"]

    def test_other_images_are_ignored_and_named(self, make):
        scans = find_scan_cases(make(*brats_case("P", ("t1", "seg")), "P/P_lge.nii.gz", "atlas.nii"), BRATS2020)
        assert [sorted(case) for case in scans.cases] == [["case", "t1"]] and scans.failures == []
        assert scans.notes == [
            "atlas.nii: ignored, lies outside the folders of the cases",
            "P: ignored P_lge.nii.gz, lge is no sequence of brats2020",
            "P: ignored P_seg.nii.gz, names no sequence",
        ]

    def test_which_sequences_count_depends_on_the_data_set(self, make):
        scans = find_scan_cases(make("P/P_t1.nii", "P/P_c0.nii", "P/P_DE.nii"), MYOPS2020)
        assert [list(case) for case in scans.cases] == [["case", "bssfp", "lge"]]
        assert scans.notes == ["P: ignored P_t1.nii, t1 is no sequence of myops2020"]

    def test_a_subfolder_without_images_is_skipped_and_no_failure(self, make):
        scans = find_scan_cases(make("P/P_t1.nii", "docs/read.txt", "results/P/P_t1.nii", ".git/x_t1.nii"), BRATS2020)
        assert [case["case"] for case in scans.cases] == ["P"] and scans.failures == []
        expected = "skipped, no image file (.nii.gz, .nii) directly in it"
        assert scans.notes == [f"docs: {expected}", f"results: {expected}"]

    def test_images_without_a_known_sequence_are_a_failure_and_the_rest_is_done(self, make):
        scans = find_scan_cases(make("A/A_dwi.nii", "A/A_seg.nii", "B/B_t1.nii"), BRATS2020)
        assert [case["case"] for case in scans.cases] == ["B"]
        [(case, message)] = scans.failures
        assert case == "A" and message.startswith(
            "A: no known sequence among A_dwi.nii, A_seg.nii; expected any of A_fl"
        )

    def test_a_single_folder_without_a_known_sequence_is_a_failure(self, make):
        scans = find_scan_cases(make("A/A_dwi.nii") / "A", BRATS2020)
        assert scans.cases == [] and [case for case, _ in scans.failures] == ["A"]

    def test_two_files_for_one_sequence_are_a_failure_that_names_both(self, make):
        scans = find_scan_cases(make("A/A_t1.nii", "A/A_t1n.nii.gz", "A/A_t2.nii"), BRATS2020)
        assert scans.cases == []
        assert scans.failures == [
            ("A", "A: A_t1.nii and A_t1n.nii.gz are both t1; expected one file per sequence, remove one")
        ]

    def test_a_missing_empty_or_wrong_folder_is_told_in_one_line(self, make, tmp_path):
        with pytest.raises(FileNotFoundError, match="none: no such folder; dataset_dir must be a folder"):
            find_scan_cases(tmp_path / "none", BRATS2020)
        with pytest.raises(FileNotFoundError, match="x.txt: is a file"):
            find_scan_cases(make("x.txt") / "x.txt", BRATS2020)
        with pytest.raises(FileNotFoundError, match="no scans found; expected <case>/<case>_flair.nii.gz or the like"):
            find_scan_cases(tmp_path, BRATS2020)


class TestMyopsLayout:
    def test_images_and_labels_lie_in_folders_of_their_own(self, make):
        names = [f"train25/myops_training_101_{word}.nii.gz" for word in ("C0", "DE", "T2")]
        root = make(*names, "train25_myops_gd/myops_training_101_gd.nii.gz")
        (case,), problems = find_cases(root, MYOPS2020_LAYOUT)
        assert problems == [] and case == {
            "case": "myops_training_101",
            "bssfp": str(root / names[0]),
            "lge": str(root / names[1]),
            "t2": str(root / names[2]),
            "label": str(root / "train25_myops_gd/myops_training_101_gd.nii.gz"),
        }

    def test_test_cases_have_no_labels(self, make):
        root = make("train25/a_C0.nii.gz", "gd/a_gd.nii.gz", "test20/b_C0.nii.gz")
        cases, problems = find_cases(root, MYOPS2020_LAYOUT)
        assert [case["case"] for case in cases] == ["a"] and problems == ["b: no label map (_gd); left out"]


class TestCasesSideBySide:
    def test_are_named_after_what_their_files_begin_with(self, make):
        files = ["h_101_C0.nii.gz", "h_101_DE.nii.gz", "h_102_C0.nii.gz", "h_103_T2.nii.gz"]
        root = make(*(f"test20/{file}" for file in files))
        for folder in (root, root / "test20"):
            scans = find_scan_cases(folder, MYOPS2020)
            assert [sorted(case) for case in scans.cases] == [
                ["bssfp", "case", "lge"],
                ["bssfp", "case"],
                ["case", "t2"],
            ]
            assert [case["case"] for case in scans.cases] == ["h_101", "h_102", "h_103"] and not scans.failures
            assert scans.cases[0]["lge"] == str(root / "test20" / "h_101_DE.nii.gz")

    def test_images_of_none_of_them_are_noted(self, make):
        scans = find_scan_cases(make("101_C0.nii.gz", "102_C0.nii.gz", "102_gd.nii.gz", "atlas_gd.nii.gz"), MYOPS2020)
        assert [case["case"] for case in scans.cases] == ["101", "102"] and not scans.failures
        assert any("102_gd.nii.gz" in note for note in scans.notes)
        assert any("atlas_gd.nii.gz, names no sequence" in note for note in scans.notes)

    @pytest.mark.parametrize(
        "files",
        [
            ["P1/P1_pre_t1.nii.gz", "P1/P1_post_t1.nii.gz"],
            ["P1/a_t1.nii.gz", "P1/a_late_t1.nii.gz"],
            ["P1/t1.nii.gz", "P1/b_t1.nii.gz"],
            ["P1/a_t1.nii.gz", "P1/a_t1.nii"],
        ],
        ids=["named after the folder", "one beginning in another", "no beginning", "two formats"],
    )
    def test_two_scans_of_one_patient_are_no_two_cases(self, make, files):
        scans = find_scan_cases(make(*files), BRATS2020)
        assert scans.cases == [] and "are both t1; expected one file per sequence" in scans.failures[0][1]
