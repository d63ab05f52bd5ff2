"""Visits are cases of one patient, who is in one part, whatever the data set."""

import pytest

from passion_components.data.layouts.visits import is_visit, patient_of
from passion_components.data.lists.prepare import prepare_cases
from passion_components.data.lists.splits import patients_in_parts, split_by_patient, split_by_stratum
from passion_components.datasets import BRATS2020

HALVES = {"training": 0.5, "test": 0.5}


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005"),
        ("sub-01_ses-2", "sub-01"),
        ("P1_visit2", "P1"),
        ("patA_study1", "patA"),
        ("P1-TP_03", "P1"),
        ("P1_baseline", "P1"),
        ("P1_preop", "P1"),
        ("P1_post-op", "P1"),
        ("Patient-001_week-000-1", "Patient-001"),
        ("UPENN-GBM-00001_21", "UPENN-GBM-00001"),
        ("RHUH-0001_2", "RHUH-0001"),
        ("study-2019_01", "study-2019_01"),  # a year is no patient
        ("P1_20240131", "P1"),
        ("P1_2024-01-31", "P1"),
        ("TCGA_DU_7294_19890104", "TCGA_DU_7294"),
        ("scan_20240131", "scan_20240131"),  # a word without a number names no patient
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("prostate_02", "prostate_02"),
        ("patient1_12345678", "patient1_12345678"),
    ],
)
def test_the_patient_is_told_by_the_name(case, patient):
    assert patient_of(case) == patient


@pytest.mark.parametrize("name", ["ses-1", "week-044", "week-000-2", "2024-01-31", "20240131", "followup", "preop"])
def test_folders_of_visits(name):
    assert is_visit(name)


@pytest.mark.parametrize("name", ["P1", "1", "T1", "study", "M12", "week"])
def test_folders_that_are_of_no_visit(name):
    assert not is_visit(name)


@pytest.mark.parametrize("split", [split_by_patient, lambda *a: split_by_stratum(*a, stratum=lambda case: "all")])
def test_no_patient_is_split(split):
    cases = [{"case": f"P{number}_{visit}"} for number in range(8) for visit in ("visit1", "visit2", "20240131")]
    for seed in range(5):
        parts = {part: [case["case"] for case in of_part] for part, of_part in split(cases, HALVES, seed).items()}
        assert not patients_in_parts(parts) and [len(names) for names in parts.values()] == [12, 0, 12]
    assert patients_in_parts({"training": ["P1_visit1"], "test": ["P1_visit2", "P2"]}) == {
        "P1": {"P1_visit1": "training", "P1_visit2": "test"}
    }


def test_cases_that_all_look_like_one_patient_are_not_split_in_silence():
    cases = [{"case": f"hospital_study_{number}"} for number in range(9)]
    with pytest.raises(ValueError, match="all 9 cases, hospital_study_0 and so on, look like visits of one patient"):
        split_by_patient(cases, HALVES, 0)
    assert split_by_patient(cases, {"test": 1.0}, 0)["test"] == cases
    assert split_by_patient(cases[:1], {"training": 0.7, "test": 0.3}, 0)["training"] == cases[:1]


def test_folders_of_visits_stay_with_their_patient(tmp_path):
    for number in range(6):
        for visit in ("2024-01-31", "2024-07-01"):
            folder = tmp_path / f"src/P{number}/{visit}"
            folder.mkdir(parents=True)
            for word in ("t1", "seg"):
                (folder / f"{word}.nii").touch()
    for seed in range(4):
        done = prepare_cases(tmp_path / "src", tmp_path / str(seed), BRATS2020, split=HALVES, seed=seed)
        patients = {part: {case["t1"].split("/")[-3] for case in cases} for part, cases in done.parts.items()}
        assert [len(cases) for cases in done.parts.values()] == [6, 0, 6]
        assert not patients["training"] & patients["test"]
        assert done.notes[-1] == "patients with several scans: 6 (P0 has 2); those of one stay in one part"
