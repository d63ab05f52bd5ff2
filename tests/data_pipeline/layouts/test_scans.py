import json
from pathlib import Path

import pytest

from passion_components.data.lists.datalist import write_datalist
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.datasets import BRATS2020, MYOPS2020

from ..conftest import brats_case


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
            assert scans.warnings == ["old: skipped (1 images in it), P7 holds scans itself"]

    def test_a_stray_scan_beside_the_folders_of_cases_costs_none_of_them(self, make):
        root = make("x_flair.nii", *brats_case("P1", ("t1", "flair")), *brats_case("P2", ("t2",)), "P2/raw/P2_t2.nii")
        scans = find_scan_cases(root, BRATS2020)
        found = {case["case"]: sorted(case.keys() - {"case"}) for case in scans.cases}
        assert found == {"x": ["flair"], "P1": ["flair", "t1"], "P2": ["t2"]}
        assert scans.warnings == ["P2/raw: skipped (1 images in it), P2 holds scans itself"]

    def test_further_folders_of_one_case_are_no_cases(self, make):
        root = make("P7/P7_t1.nii", "P7/P7_run2/P7_run2_t1.nii", "P7/raw/raw_t1.nii", "P7/3/t1.nii")
        scans = find_scan_cases(root, BRATS2020)
        assert [case["case"] for case in scans.cases] == ["P7"] and len(scans.warnings) == 3

    def test_other_images_are_ignored_and_named(self, make):
        scans = find_scan_cases(make(*brats_case("P", ("t1", "seg")), "P/P_lge.nii.gz", "atlas.nii"), BRATS2020)
        assert [sorted(case) for case in scans.cases] == [["case", "t1"]] and scans.failures == []
        assert scans.notes == [
            "atlas.nii: ignored, lies outside the folders of the cases, names no sequence",
            "P: ignored P_seg.nii.gz, is a label map",
        ]
        assert scans.warnings == ["P: ignored P_lge.nii.gz, lge is none of flair, t1ce, t1, t2"]

    def test_which_sequences_count_depends_on_the_data_set(self, make):
        scans = find_scan_cases(make("P/P_t1.nii", "P/P_c0.nii", "P/P_DE.nii"), MYOPS2020)
        assert [list(case) for case in scans.cases] == [["case", "bssfp", "lge"]]
        assert scans.warnings == ["P: ignored P_t1.nii, t1 is none of bssfp, lge, t2"]

    def test_folders_without_images_are_counted_and_deeper_cases_are_found(self, make):
        files = ["P/P_t1.nii", "docs/read.txt", "empty/x/y.txt", "results/P/P_t1.nii", ".git/x_t1.nii"]
        scans = find_scan_cases(make(*files), BRATS2020)
        assert [case["case"] for case in scans.cases] == ["P", "results_P"] and scans.failures == []
        assert [warning.split(" (")[0] for warning in scans.warnings] == [
            "2 folders skipped, no image in docs, empty",
            "P: 2 folders hold a case of this name; they are called P, results_P",
        ]

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
            (
                "A",
                "A: A_t1.nii and A_t1n.nii.gz are both t1; expected one file per sequence, remove one, or choose with "
                "passion prepare --pattern and give the datalist",
            )
        ]

    def test_a_missing_empty_or_wrong_folder_is_told_in_one_line(self, make, tmp_path):
        with pytest.raises(FileNotFoundError, match="none: no such folder; expected a folder of cases"):
            find_scan_cases(tmp_path / "none", BRATS2020)
        with pytest.raises(FileNotFoundError, match="x.txt: is a file"):
            find_scan_cases(make("x.txt") / "x.txt", BRATS2020)
        with pytest.raises(FileNotFoundError, match="no scans found; expected <case>/<case>_flair.nii.gz or the like"):
            find_scan_cases(tmp_path, BRATS2020)


class TestNumberedChannels:
    """The folders of MSD and nnU-Net, of which ``prepare`` takes what has labels."""

    def described(self, root, **content):
        (root / "dataset.json").write_text(json.dumps(content), encoding="utf-8-sig")
        return find_scan_cases(root, BRATS2020)

    def test_every_image_of_a_case_counts(self, make):
        root = make("imagesTr/a_0000.nii", "imagesTr/a_0001.nii", "labelsTr/a.nii", "imagesTs/b_0001.nii")
        scans = self.described(root, channel_names={"0": "T1", "1": "FLAIR"})
        assert scans.cases == [
            {"case": "a", "flair": f"{root}/imagesTr/a_0001.nii", "t1": f"{root}/imagesTr/a_0000.nii"},
            {"case": "b", "flair": f"{root}/imagesTs/b_0001.nii"},
        ]
        assert scans.warnings == [] and scans.failures == []

    def test_volumes_of_4d_files_are_sequences(self, make):
        root = make("imagesTs/BRATS_485.nii.gz")
        scans = self.described(root, modality={"0": "FLAIR", "1": "T1w", "2": "perfusion"})
        file = f"{root}/imagesTs/BRATS_485.nii.gz"
        assert scans.cases == [{"case": "BRATS_485", "flair": f"{file}#0", "t1": f"{file}#1"}]
        (warning,) = scans.warnings
        assert warning.endswith("channel 2 is 'perfusion', no sequence of brats2020; left out")


class TestDatalistOfScans:
    def test_cases_of_all_parts_without_their_labels(self, make):
        root = make("P1/a.nii", "P2/b.nii")
        parts = {
            "training": [{"case": "P1", "t1": str(root / "P1/a.nii"), "label": str(root / "P1/l.nii")}],
            "test": [{"case": "P2", "t2": str(root / "P2/b.nii#1")}],
        }
        datalist = write_datalist(root / "datalist.json", parts, label_scheme="msd")
        scans = find_scan_cases(datalist, BRATS2020)
        assert scans.cases == [
            {"case": "P1", "t1": str(root / "P1/a.nii")},
            {"case": "P2", "t2": str(root / "P2/b.nii#1")},
        ]
        assert scans.label_scheme == "msd"

    def test_an_empty_one_is_refused(self, make):
        datalist = write_datalist(make("x") / "datalist.json", {"test": []})
        with pytest.raises(FileNotFoundError, match="datalist.json: has no cases in any part"):
            find_scan_cases(datalist, BRATS2020)

    def test_a_case_in_two_parts_is_refused(self, make):
        parts = {part: [{"case": "P", "t1": "a.nii"}] for part in ("training", "test")}
        datalist = write_datalist(make("a.nii") / "datalist.json", parts)
        with pytest.raises(ValueError, match="case 'P' is in the parts training and test; expected every case in one"):
            find_scan_cases(datalist, BRATS2020)


class TestSeriesOfSlices:
    def test_a_folder_of_dicom_files_is_a_sequence(self, make):
        root = make("P1/P1_t1/1.dcm", "P1/FLAIR/1.dcm", "P1/FLAIR/2.dcm", "P1/T2.nrrd", "P2/t2.mha")
        for file in (root / "P1").rglob("*.dcm"):
            file.write_bytes(b"")
        scans = find_scan_cases(root, BRATS2020)
        assert [{key: Path(value).name for key, value in case.items()} for case in scans.cases] == [
            {"case": "P1", "flair": "FLAIR", "t1": "P1_t1", "t2": "T2.nrrd"},
            {"case": "P2", "t2": "t2.mha"},
        ]

    def test_files_without_an_ending_are_known_by_what_they_hold(self, make):
        root = make("P1/t1/IM0001", "P1/t2/IM0001")
        (root / "P1/t1/IM0001").write_bytes(bytes(128) + b"DICM")
        assert find_scan_cases(root, BRATS2020).cases == [{"case": "P1", "t1": str(root / "P1/t1")}]


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

    def test_their_label_maps_in_a_folder_beside_are_no_case_that_fails(self, make):
        root = make("train25/h_101_C0.nii", "train25/h_102_C0.nii", "train25_gd/h_101_gd.nii", "h_103/h_103_gd.nii")
        scans = find_scan_cases(root, MYOPS2020)
        assert [case["case"] for case in scans.cases] == ["h_101", "h_102"]
        assert [case for case, _ in scans.failures] == ["h_103"]
        assert "train25_gd/h_101_gd.nii: ignored, lies outside the folders of the cases" in scans.notes

    def test_earlier_predictions_in_a_folder_among_them_are_a_note(self, make):
        """As after ``passion predict SCANS --out SCANS/out``."""
        root = make("a_t1.nii", "b_t1.nii", "out/a/a_seg.nii.gz", "out/a/a_probabilities.nii.gz")
        scans = find_scan_cases(root, BRATS2020)
        assert [case["case"] for case in scans.cases] == ["a", "b"] and scans.warnings == []
        assert scans.notes == [f"out/a: skipped (2 images in it), {root.name} holds scans itself"]

    def test_images_of_none_of_them_are_noted(self, make):
        scans = find_scan_cases(make("101_C0.nii.gz", "102_C0.nii.gz", "102_gd.nii.gz", "atlas_gd.nii.gz"), MYOPS2020)
        assert [case["case"] for case in scans.cases] == ["101", "102"] and not scans.failures
        assert any("102_gd.nii.gz" in note for note in scans.notes)
        assert any("atlas_gd.nii.gz, is a label map" in note for note in scans.notes)

    @pytest.mark.parametrize(
        "files",
        [
            ["P1/P1_late_t1.nii.gz", "P1/P1_early_t1.nii.gz"],
            ["P1/a_t1.nii.gz", "P1/a_late_t1.nii.gz"],
            ["P1/t1.nii.gz", "P1/b_t1.nii.gz"],
            ["P1/a_t1.nii.gz", "P1/a_t1.nii"],
        ],
        ids=["named after the folder", "one beginning in another", "no beginning", "two formats"],
    )
    def test_two_scans_of_one_patient_are_no_two_cases(self, make, files):
        scans = find_scan_cases(make(*files), BRATS2020)
        assert scans.cases == [] and "are both t1; expected one file per sequence" in scans.failures[0][1]
