"""Files of two patients never become one case, and one patient's never two, in any command."""

from pathlib import Path

import pytest

from passion_components.data.errors import UserError
from passion_components.data.layouts.case_groups import case_of_file
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.prepare import find_cases
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.data.reading.image_files import images_below
from passion_components.datasets import BRATS2020
from passion_components.engines.checks import check_label_scheme

from ..conftest import brats_case


def told(cases):
    return {case["case"]: {key: Path(file).name for key, file in case.items() if key != "case"} for case in cases}


def scanned(root):
    scans = find_scan_cases(root, BRATS2020)
    return told(scans.cases), scans


class TestPatientsAreNotMixed:
    def test_flat_files_of_two_patients_are_two_cases(self, make):
        cases, scans = scanned(make("in/P1_flair.nii", "in/P2_t1.nii") / "in")
        assert cases == {"P1": {"flair": "P1_flair.nii"}, "P2": {"t1": "P2_t1.nii"}} and not scans.failures

    def test_a_beginning_of_another_name_is_another_patient(self, make):
        names = ["pat1", "pat2", "pat10"]
        root = make(*(f"in/{name}_{key}.nii" for name in names for key in ("t1", "flair", "seg")))
        cases, scans = scanned(root / "in")
        assert sorted(cases) == sorted(names) and all(len(case) == 2 for case in cases.values()) and not scans.failures
        assert sorted(told(find_cases(root / "in", BRATS2020).cases)) == sorted(names)

    @pytest.mark.parametrize("files", [["P1_flair", "P2_t1"], ["P1_01_flair", "P1_02_t1"]])
    def test_a_stranger_in_a_case_is_refused(self, make, files):
        cases, scans = scanned(make(*(f"in/P1/{file}.nii" for file in files), "in/P3/t1.nii") / "in")
        assert cases == {"P3": {"t1": "t1.nii"}}
        [(case, message)] = scans.failures
        assert case == "P1" and f"{files[0]}.nii and {files[1]}.nii begin like files of two cases" in message

    def test_words_of_technique_do_not_split_a_case(self, make):
        cases, scans = scanned(make("P1/AX_T2_FLAIR.nii", "P1/SAG_T1.nii", "P2/mprage_t1.nii", "P2/dark_flair.nii"))
        assert sorted(cases["P1"]) == ["flair", "t1"] and sorted(cases["P2"]) == ["flair", "t1"]
        assert len(scans.warnings) == 1 and "taken as one case though its files begin differently" in scans.warnings[0]

    def test_a_folder_within_the_case_is_not_its_name(self, make):
        root = make("P1/anat/flair.nii", "P1/anat/seg.nii", "P2/anat/t1.nii")
        found = find_cases(root, BRATS2020)
        assert told(found.cases) == {"P1": {"flair": "flair.nii", "label": "seg.nii"}}
        assert ["P2: no label map" in note for note in found.notes] == [True]
        assert sorted(scanned(root)[0]) == ["P1", "P2"]

    def test_folders_named_like_sequences(self, make):
        root = make(*(f"a/{f}/P{n}_{f}.nii" for n in (1, 2) for f in ("flair", "t1", "seg")))
        assert sorted(told(find_cases(root / "a", BRATS2020).cases)) == ["P1", "P2"]
        assert {name: len(case) for name, case in scanned(root / "a")[0].items()} == {"P1": 2, "P2": 2}
        subsets = make("b/flair/P_flair.nii", "b/t1+flair/P_flair.nii", "b/t1+flair/P_t1.nii") / "b"
        assert sorted(scanned(subsets)[0]) == ["flair", "t1+flair"]

    def test_accents_as_a_mac_writes_them_make_no_other_patient(self, make):
        cases, _ = scanned(make("in/M\u00fcller_t1.nii", "in/Mu\u0308ller_flair.nii", "in/Meier_t1.nii") / "in")
        assert sorted(map(len, cases.values())) == [1, 2]

    def test_studies_of_one_name_are_told_apart_by_the_folders(self, make):
        root = make(
            *(f"{p}/{s}_{k}.nii" for p in ("patA", "patB") for s in ("study1", "study2") for k in ("t1", "seg"))
        )
        names = ["patA_study1", "patA_study2", "patB_study1", "patB_study2"]
        assert sorted(scanned(root)[0]) == names
        found = find_cases(root, BRATS2020)
        assert sorted(told(found.cases)) == names
        assert found.cases[0]["label"] == str(root / "patA/study1_seg.nii")

    def test_one_study_each(self, make):
        root = make(*(f"{p}/study1_{k}.nii" for p in ("patA", "patB") for k in ("t1", "seg")))
        assert sorted(told(find_cases(root, BRATS2020).cases)) == ["patA_study1", "patB_study1"]
        assert sorted(scanned(root)[0]) == ["patA", "patB"]

    def test_a_copy_of_a_case_is_told(self, make):
        found = find_cases(make(*brats_case("B"), *brats_case("copy/B")), BRATS2020)
        assert sorted(told(found.cases)) == ["B", "copy_B"]
        assert found.notes[0] == "B: 2 folders hold a case of this name; they are called B, copy_B"
        assert ["visits may get into different parts" in note for note in found.notes] == [False, True]

    def test_visits_bear_the_name_of_their_patient(self, make):
        root = make("P1/2020/t1.nii", "P1/2021/t1.nii", "P2/2020/t1.nii")
        assert sorted(scanned(root)[0]) == ["P1_2020", "P1_2021", "P2_2020"]

    def test_numbers_of_series_are_no_cases(self, make):
        cases, scans = scanned(make("P1/2_t1_mprage_sag.nii", "P1/5_t1_km.nii", "P2/t1.nii"))
        assert list(cases) == ["P2"]
        assert scans.failures[0][1].startswith(
            "P1: are the numbers that 2_t1_mprage_sag.nii and 5_t1_km.nii begin with of series or of cases?"
        )

    def test_folders_with_numbers_of_series_are_of_one_case(self, make):
        """As XNAT exports them, and the Erasmus Glioma Database; a case may have lost all sequences but one."""
        series = ("1_T1/NIFTI/T1", "2-T1GD/resources/NIFTI/files/T1GD", "5_MASK/NIFTI/MASK")
        root = make(*(f"a/E1/{name}.nii.gz" for name in series), "a/E2/4_FLAIR/FLAIR.nii.gz", "a/E2/5_MASK/MASK.nii.gz")
        cases, scans = scanned(root / "a")
        assert {name: sorted(case) for name, case in cases.items()} == {"E1": ["t1", "t1ce"], "E2": ["flair"]}
        assert scans.warnings == []
        found = find_cases(root, BRATS2020)
        assert told(found.cases)["E1"] == {"label": "MASK.nii.gz", "t1": "T1.nii.gz", "t1ce": "T1GD.nii.gz"}
        assert sorted(told(found.cases)) == ["E1", "E2"] and found.notes == []

    def test_folders_that_are_numbers_of_series_are_of_one_case(self, make):
        """As XNAT exports them; a session may have lost all sequences but one."""
        series = ("S1/SCANS/2/NIFTI/t1.nii", "S1/SCANS/5/NIFTI/flair.nii", "S2/SCANS/2/NIFTI/t1.nii")
        root = make(*(f"a/{name}" for name in series))
        cases, scans = scanned(root / "a")
        assert {name: sorted(case) for name, case in cases.items()} == {"S1": ["flair", "t1"], "S2": ["t1"]}
        assert scans.warnings == []

    def test_folders_that_are_numbers_of_patients_are_cases(self, make):
        root = make(*(f"scans/{name}.nii" for name in ("002/NIFTI/t1", "002/NIFTI/flair", "003/NIFTI/flair")))
        assert {name: len(case) for name, case in scanned(root)[0].items()} == {"002": 2, "003": 1}

    def test_folders_that_begin_with_the_modality_are_of_one_case(self, make):
        root = make("P1/MRT Kopf/MR t1_mprage/t1.nii", "P1/MRT Kopf/MR flair/flair.nii", "P2/MRT Kopf/MR t1/t1.nii")
        assert {name: len(case) for name, case in scanned(root)[0].items()} == {"P1_MRT Kopf": 2, "P2_MRT Kopf": 1}

    def test_folders_with_numbers_of_series_in_the_source_itself_are_told(self, make):
        cases, scans = scanned(make("E1/1_T1/T1.nii", "E1/4_FLAIR/FLAIR.nii") / "E1")
        assert cases == {"E1": {"t1": "T1.nii", "flair": "FLAIR.nii"}}
        assert scans.warnings[0].endswith("E1: 1_T1, 4_FLAIR are taken as series of one case, by their numbers")

    @pytest.mark.parametrize("names", [("101_T1", "102_T1"), ("101_T1", "101_FLAIR", "102_T1")])
    def test_folders_with_numbers_of_patients_are_cases(self, make, names):
        assert sorted(scanned(make(*(f"in/{name}/{name[4:]}.nii" for name in names)) / "in")[0]) == sorted(names)

    def test_series_that_show_the_same_are_told_by_their_folders(self, make):
        root = make("P1/3_T1/T1.nii", "P1/4_FLAIR/FLAIR.nii", "P1/7_T1/T1.nii")
        _, scans = scanned(root)
        assert f"P1: {root}/P1/3_T1/T1.nii and {root}/P1/7_T1/T1.nii are both t1" in scans.failures[0][1]

    @pytest.mark.parametrize("names", [("pat_a_t1", "pat_b_t2", "pat_c_flair"), ("KM_flair", "HB_t1")])
    def test_letters_of_contrast_in_names_of_patients(self, make, names):
        cases, scans = scanned(make(*(f"in/{name}.nii" for name in names)) / "in")
        assert sorted(cases) == sorted(name.rpartition("_")[0] for name in names) and not scans.failures

    def test_bids(self, make):
        names = [f"sub-0{n}/ses-{v}/anat/sub-0{n}_ses-{v}" for n in (1, 2) for v in (1, 2)]
        root = make(*(f"{name}_{rest}.nii" for name in names for rest in ("T1w", "ce-gadolinium_T1w", "FLAIR", "seg")))
        cases, scans = scanned(root)
        assert sorted(cases) == ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-02_ses-2"]
        assert cases["sub-01_ses-1"]["t1ce"] == "sub-01_ses-1_ce-gadolinium_T1w.nii" and scans.warnings == []
        assert sorted(told(find_cases(root, BRATS2020).cases)) == sorted(cases)

    def test_labels_of_several_folders_go_to_the_case_of_their_folder(self, make):
        root = make("images/patA/study1_t1.nii", "images/patB/study1_t1.nii", "labels/patA/study1_seg.nii")
        found = find_cases(root, BRATS2020)
        assert told(found.cases) == {"patA_study1": {"t1": "study1_t1.nii", "label": "study1_seg.nii"}}


class TestCaseOfFile:
    @pytest.mark.parametrize(
        ("file", "case"),
        [
            ("/data/pat1/t1.nii.gz", "pat1"),
            ("/data/pat1/anat/T1w.nii.gz", "pat1"),
            ("/data/pat1/FLAIR/dicom", "pat1"),
            ("/data/pat1/DICOM/t1", "pat1"),
            ("/data/pat1/MY_t1.nii.gz", "MY"),
            ("/data/pat1/scan.nii.gz", "scan"),
            ("/t1.nii.gz", "t1"),
        ],
    )
    def test_a_name_that_tells_no_case_leaves_it_to_the_folder(self, file, case):
        assert case_of_file(Path(file), BRATS2020) == case


class TestNothingIsLost:
    def test_archives_are_named_in_one_line_for_a_folder(self, make):
        root = make("P/P_t2.nii", "P/P_flair.zip", "P/P_t1.tar.gz", "P/P_t1ce.nii.zip", "Q.7z")
        _, scans = scanned(root)
        assert [line for line in scans.warnings if "looked into" in line] == [
            f"{root}: 1 archive (Q.7z) not looked into; unpack what holds scans",
            f"{root}/P: 2 archives (P_flair.zip, P_t1.tar.gz) not looked into; unpack what holds scans",
        ]

    def test_a_folder_of_archives_alone_says_why_it_has_no_scans(self, make):
        with pytest.raises(FileNotFoundError, match="no scans found.*1 archive .P1.zip. not looked into"):
            scanned(make("P1.zip"))

    def test_what_looks_like_an_image_is_named_once(self, make):
        odd = ["a_t1.mnc", "b_t2.nii.gzip", "d_flair.nii.bz2", "e.dcm"]
        root = make("P/P_t2.Nii", *(f"P/{name}" for name in odd))
        cases, scans = scanned(root)
        assert cases == {"P": {"t2": "P_t2.Nii"}}
        for name in odd:
            assert sum(name in warning for warning in scans.warnings) == 1
        lost: list[str] = []
        assert len(list(images_below(root, lost))) == 1 and len(lost) == len(odd)

    @pytest.mark.parametrize("name", ["T1MPRAGE", "postT1", "P[t1]", "P_T2star", "P_FLAIR+C", "MPRAGE", "P_t1t2"])
    def test_what_has_letters_of_a_sequence_is_a_warning(self, make, name):
        cases, scans = scanned(make("P/P_t2.nii", f"P/{name}.nii", "P/P_dwi.nii"))
        assert cases == {"P": {"t2": "P_t2.nii"}}
        assert scans.warnings == [f"P: ignored {name}.nii, names no sequence"]
        assert scans.notes == ["P: ignored P_dwi.nii, names no sequence"]

    def test_a_series_one_folder_deeper_without_preamble_and_behind_other_files_is_found(self, make):
        root = make("P/dicom/FLAIR/IM9", *(f"P/dicom/FLAIR/a{n}.txt" for n in range(6)), "P/t1.nii")
        (root / "P/dicom/FLAIR/IM9").write_bytes(b"\x08\0\x05\0CS\x0a\0ISO_IR 100")
        assert scanned(root)[0] == {"P": {"t1": "t1.nii", "flair": "FLAIR"}}

    def test_a_dangling_link_costs_nothing_else(self, make):
        root = make("P1/P1_t1.nii", "P1/P1_seg.nii", "P2/P2_t1.nii")
        (root / "P2/P2_t2.nii").symlink_to(root / "gone.nii")
        cases, scans = scanned(root)
        assert sorted(cases) == ["P1", "P2"]
        assert ["is a link to a file that is not there" in warning for warning in scans.warnings] == [True]
        assert [case["case"] for case in find_cases(root, BRATS2020).cases] == ["P1"]

    def test_a_folder_within_a_case_is_named(self, make):
        cases, scans = scanned(make("P/P_t1.nii", "P/old/P_t1.nii"))
        assert cases == {"P": {"t1": "P_t1.nii"}}
        assert scans.warnings == ["P/old: skipped (1 images in it), P holds scans itself"]


def test_a_datalist_of_another_data_set_is_called_that(tmp_path):
    path = tmp_path / "datalist.json"
    path.write_text('{"test": [{"case": "P", "bssfp": "a.nii", "lge": "b.nii"}]}')
    with pytest.raises(ValueError, match=r"no modality; expected .*; it has bssfp, lge: is the datalist of another"):
        Datalist(path).cases("test", BRATS2020.modalities)
    with pytest.raises(UserError, match=r"myops2020: is of the data set myops2020, so the datalist .* is not for this"):
        check_label_scheme("myops2020", BRATS2020)
