"""DICOM as disks and archives hold it: which series there are, and which sequences they show."""

import gzip

import numpy as np
import pytest

from passion_components.data.layouts.dicom_sequences import read_header
from passion_components.data.layouts.named_files import find_named_cases
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.data.reading.dicom_headers import Image
from passion_components.data.reading.volumes import read_volume
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG

from ..reading.test_dicom import VALUES, slice_of

T1 = {"echo": "9", "repetition": "500"}
T2 = {"echo": "100", "repetition": "4000"}
FLAIR = {"echo": "120", "repetition": "9000", "inversion": "2500"}
TAGS = {
    "description": "x0008103e",
    "echo": "x00180081",
    "repetition": "x00180080",
    "inversion": "x00180082",
    "agent": "x00180010",
    "type": "x00080008",
}


def write_series(folder, number, description, *, study="1.9", first=0, **tags):
    """Three slices of VALUES as a series of its own, with number and description."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {TAGS[name]: value for name, value in {"description": description, **tags}.items()}
    uids = {"x0020000d": study, "x0020000e": f"{study}.{number}", "x00200011": str(number)}
    for index in range(first, first + 3):
        slice_of(folder, index, name=f"{number}_{index}.dcm", x00080018=f"{study}.{number}.{index}", **uids, **named)
    return folder


def write_study(folder, study="1.9", inside=""):
    """Localizer, T1, FLAIR, T1 with contrast that only the agent tells, and diffusion; in a folder each if wanted."""
    for number, (description, tags) in enumerate(
        [
            ("3-plane", {"type": "ORIGINAL\\PRIMARY\\LOCALIZER"}),
            ("AX T1 FSE", T1),
            ("AX T2 FLAIR", FLAIR),
            ("AX T1 FSE", {**T1, "agent": "Gadovist"}),
        ],
        1,
    ):
        write_series(folder / inside.format(f"SE{number}"), number, description, study=study, first=number % 2, **tags)
    return folder


def found(folder, spec=TCGA_LGG, series=""):
    """Case -> sequence -> path below the folder, and the failures."""
    scans = find_scan_cases(folder, spec, series)
    cases = {
        case["case"]: {key: value.removeprefix(f"{folder.absolute()}/") for key, value in case.items() if key != "case"}
        for case in scans.cases
    }
    return cases, [message for _, message in scans.failures]


class TestSequenceOfAHeader:
    @pytest.mark.parametrize(
        ("tags", "key"),
        [
            ({"description": "AX T1 FSE", **T1}, "t1"),
            ({"description": "AX T1 FSE", **T1, "agent": "Gadovist"}, "t1ce"),
            ({"description": "AX T1 FSE", **T1, "agent": "NONE"}, "t1"),
            ({"description": "t1_mprage_sag +C", "echo": "3", "technique": "GR\\IR", "inversion": "900"}, "t1ce"),
            ({"description": "AX T2 FSE (fast)", **T2}, "t2"),
            ({"description": "t2_tirm_tra_dark-fluid", **FLAIR}, "flair"),
            ({"description": "AX T1 FLAIR", "echo": "10", "repetition": "2500", "inversion": "900"}, "t1"),
            ({"description": "", "protocol": "FLAIR"}, "flair"),
            ({"description": "Serie 1", **T1}, "t1"),
            ({"description": "Serie 2", **T1, "agent": "Dotarem"}, "t1ce"),
            ({"description": "Serie 3", **T2}, "t2"),
            (FLAIR, "flair"),
        ],
    )
    def test_description_agent_and_times_tell_it(self, tags, key):
        assert read_header(Image(None, "a", tags), BRATS2020).key == key

    @pytest.mark.parametrize(
        ("tags", "problem"),
        [
            ({"description": "AX T1", **T2}, "is called t1, but its times are those of t2"),
            ({"description": "FLAIR", **T1}, "is called flair, but its times are those of t1"),
            ({"description": "T1 T2 map"}, "names t1 and t2"),
            ({"description": "T1 native", **T1, "agent": "Gadovist"}, "is called without contrast, but its header"),
            ({"description": "ep2d_diff", "echo": "90", "technique": "EP"}, "does not say which sequence it is"),
            ({"description": "ADC", **T2, "type": "DERIVED\\PRIMARY"}, "does not say which sequence it is"),
            ({"description": "T1 loc", "type": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "is a localizer"),
            ({"description": "T1", "modality": "CT"}, "is no MR image (modality CT)"),
            ({"description": "T1", "modality": "MR", "samples": "3"}, "holds colours"),
            ({"description": "LGE"}, "lge is none of flair, t1ce, t1, t2"),
        ],
    )
    def test_what_is_not_clear_is_not_guessed(self, tags, problem):
        read = read_header(Image(None, "a", tags), BRATS2020)
        assert read.key is None and read.problem.startswith(problem)

    def test_what_it_was_told_by_can_be_shown(self):
        tags = {"number": "7", "description": "AX FLAIR", **FLAIR, "agent": "Gadovist"}
        shown = "series 7 'AX FLAIR' (TE 120, TR 9000, TI 2500, agent Gadovist)"
        assert read_header(Image(None, "a", tags), BRATS2020).header == shown

    def test_hearts_are_named_in_words_only(self):
        assert read_header(Image(None, "a", {"description": "LGE PSIR"}), MYOPS2020).key == "lge"
        assert read_header(Image(None, "a", {"description": "", **T1}), MYOPS2020).key is None


class TestStudies:
    SORTED = {"t1": 2, "flair": 3, "t1ce": 4}

    def test_all_series_in_the_folder_of_a_case(self, tmp_path):
        write_study(tmp_path / "P1")
        write_study(tmp_path / "P2", "1.10")
        expected = {case: {key: f"{case}/#{number}" for key, number in self.SORTED.items()} for case in ("P1", "P2")}
        assert found(tmp_path) == (expected, [])
        assert np.array_equal(read_volume(tmp_path / "P1/#4", case="P1").array, VALUES[:, :, :3])
        assert np.array_equal(read_volume(tmp_path / "P1/#3", case="P1").array, VALUES[:, :, 1:4])

    def test_the_folder_given_is_the_case(self, tmp_path):
        folder = write_study(tmp_path / "P1")
        assert found(folder) == ({"P1": {key: f"#{number}" for key, number in self.SORTED.items()}}, [])

    @pytest.mark.parametrize("directory", [None, "DICOMDIR"])
    def test_a_disk(self, tmp_path, directory):
        folder = write_study(tmp_path / "P1", inside="DICOM/PA0/ST0/{}" if directory else "{}")
        if directory:
            (folder / directory).write_bytes(bytes(128) + b"DICM")
            (folder / "VIEWER").mkdir()
        inside = "DICOM/PA0/ST0/" if directory else ""
        expected = {"P1": {key: f"{inside}SE{number}/#{number}" for key, number in self.SORTED.items()}}
        assert found(folder) == (expected, [])

    def test_patients_of_one_series_each(self, tmp_path):
        write_series(tmp_path / "A", 1, "FLAIR", study="1.1")
        write_series(tmp_path / "B", 1, "T1", study="1.2")
        assert found(tmp_path) == ({"A": {"flair": "A/#1"}, "B": {"t1": "B/#1"}}, [])

    @pytest.mark.parametrize("inside", ["SCANS/{}/DICOM", "scans/{}-Serie_{}/resources/DICOM/files"])
    def test_series_as_xnat_exports_them_are_of_one_case(self, tmp_path, inside):
        for session in ("S1", "S2"):
            for number, description, tags in ((2, "AX T1", T1), (5, "AX T2 FLAIR", FLAIR)):
                folder = tmp_path / session / inside.format(number, number)
                write_series(folder, number, description, study=f"1.{session[1]}", **tags)
        cases, failures = found(tmp_path)
        assert {name: sorted(case) for name, case in cases.items()} == {"S1": ["flair", "t1"], "S2": ["flair", "t1"]}
        assert failures == []

    def test_patients_in_folders_like_those_of_xnat_are_not_mixed(self, tmp_path):
        for number, description, tags in ((2, "AX T1", T1), (5, "AX T2 FLAIR", FLAIR)):
            write_series(tmp_path / f"scans/{number}/DICOM", number, description, study=f"1.{number}", **tags)
        assert sorted(found(tmp_path)[0]) == ["2", "5"]

    def test_folders_named_by_description_and_number_of_a_series(self, tmp_path):
        """As OsiriX and Horos export them."""
        for number, description, tags in ((2, "T1W_SE", T1), (5, "FLAIR_long", FLAIR)):
            write_series(tmp_path / f"Doe_J/Head/{description}_{number}01", number, description, **tags)
        assert {name: sorted(case) for name, case in found(tmp_path)[0].items()} == {"Head": ["flair", "t1"]}

    def test_two_studies_in_one_folder_are_not_mixed(self, tmp_path):
        write_series(tmp_path / "P1", 1, "FLAIR", study="1.1")
        write_series(tmp_path / "P1", 2, "T1", study="1.2")
        cases, (failure,) = found(tmp_path)
        assert cases == {} and "(one of 2 studies here: put those of one patient and visit into a folder" in failure

    def test_one_series_number_for_two_series_is_told(self, tmp_path):
        write_series(tmp_path / "P1", 1, "FLAIR")
        slice_of(tmp_path / "P1", 0, name="x.dcm", x0020000d="1.9", x0020000e="7", x00200011="1", x0008103e="T1")
        assert "another series has its number" in found(tmp_path)[1][0]

    def test_prepare_sorts_them_too_and_says_by_what(self, tmp_path):
        write_study(tmp_path / "P1/dicom")
        (tmp_path / "P1/P1_seg.nii.gz").touch()
        prepared = find_named_cases(tmp_path, TCGA_LGG)
        assert prepared.cases[0]["t1"] == str(tmp_path / "P1/dicom/#2") and prepared.cases[0]["case"] == "P1"
        assert any(
            "taken as t1ce by its header: series 4 'AX T1 FSE' (TE 9, TR 500, agent" in note for note in prepared.notes
        )


class TestChoice:
    @pytest.fixture
    def twice(self, tmp_path):
        for number, description in ((1, "SAG T1"), (2, "AX T1"), (3, "FLAIR")):
            write_series(tmp_path / "P1", number, description)
        return tmp_path

    def test_two_series_of_one_sequence_are_asked_about(self, twice):
        cases, (failure,) = found(twice)
        assert cases == {} and "series 1 'SAG T1' and series 2 'AX T1' are both t1; expected" in failure
        assert failure.endswith("choose with --series t1=NUMBER")

    def test_the_number_given_decides(self, twice):
        assert found(twice, series="t1=2") == ({"P1": {"flair": "P1/#3", "t1": "P1/#2"}}, [])

    def test_it_overrules_headers(self, twice):
        assert found(twice, series="t1=3,flair=1")[0] == {"P1": {"flair": "P1/#1", "t1": "P1/#3"}}

    def test_a_case_without_that_number_keeps_what_its_headers_say(self, twice):
        write_series(twice / "P2", 5, "AX T1", study="2.1")
        write_series(twice / "P2", 6, "FLAIR", study="2.1")
        assert found(twice, series="t1=2")[0]["P2"] == {"t1": "P2/#5", "flair": "P2/#6"}

    @pytest.mark.parametrize(
        ("series", "message"),
        [
            ("t1=9", "t1=9: no DICOM series has this number; found: series 1 'SAG T1', series 2 'AX T1', series 3"),
            ("t2=1", "expected whole numbers of DICOM series for t1, flair, t1ce, got t2=1"),
            ("t1=1.5", "got t1=1.5"),
            ("3", "'3' is not name=number; write it like t1=4,flair=7"),
        ],
    )
    def test_a_choice_that_cannot_be_is_refused(self, twice, series, message):
        with pytest.raises(ValueError, match="--series") as caught:
            found(twice, series=series)
        assert message in str(caught.value)

    def test_the_volumes_name_the_series_asked_for(self, twice):
        with pytest.raises(ValueError, match=r"P1 holds 3 DICOM series \(series 1 'SAG T1', .* like P1/#4"):
            read_volume(twice / "P1", case="P1")
        with pytest.raises(ValueError, match=r"series 3 'FLAIR'\), 0 of them with number 9; expected"):
            read_volume(twice / "P1/#9", case="P1")


class TestFiles:
    def test_a_series_below_the_folder_of_its_sequence(self, tmp_path):
        write_series(tmp_path / "P1/flair/2020/IMAGES", 1, "x")
        write_series(tmp_path / "P1/T1/IMAGES", 2, "x", study="1.10")
        assert found(tmp_path) == ({"P1": {"flair": "P1/flair/2020/IMAGES", "t1": "P1/T1/IMAGES"}}, [])

    @pytest.mark.parametrize("preamble", [True, False])
    def test_without_ending_behind_many_others(self, tmp_path, preamble):
        folder = write_series(tmp_path / "P1/flair", 1, "x")
        for file in list(folder.iterdir()):
            file.write_bytes(file.read_bytes()[0 if preamble else 132 :])
            file.rename(file.with_suffix(""))
        for number in range(9):
            (folder / f"0{number}.txt").write_text("no image")
        assert found(tmp_path) == ({"P1": {"flair": "P1/flair"}}, [])
        assert read_volume(folder, case="P1").array.shape == (7, 6, 3)

    def test_compressed(self, tmp_path):
        folder = write_series(tmp_path / "P1/flair", 1, "x")
        for file in list(folder.iterdir()):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        assert found(tmp_path) == ({"P1": {"flair": "P1/flair"}}, [])

    def test_a_damaged_compressed_file_is_told_and_the_other_cases_go_on(self, tmp_path):
        write_series(tmp_path / "P1/flair", 1, "x")
        (tmp_path / "P2/scans").mkdir(parents=True)
        (tmp_path / "P2/scans/a.dcm.gz").write_bytes(gzip.compress(bytes(9999))[:10] + b"\xff" * 20)
        assert found(tmp_path) == ({"P1": {"flair": "P1/flair"}}, [])
        assert "a.dcm.gz cannot be read (Error -3" in find_scan_cases(tmp_path, TCGA_LGG).warnings[0]

    def test_reports_beside_images_are_no_damaged_images(self, tmp_path):
        folder = write_series(tmp_path / "P1/flair", 1, "x")
        report = b"\x02\0\x02\0UI\x1e\x001.2.840.10008.5.1.4.1.1.88.22"
        (folder / "report.dcm").write_bytes(bytes(128) + b"DICM" + report)
        assert read_volume(folder, case="P1").array.shape == (7, 6, 3)

    def test_a_description_in_latin_1(self, tmp_path):
        folder = write_series(tmp_path / "P1", 1, "FLAIR Schae")
        for file in folder.iterdir():
            file.write_bytes(file.read_bytes().replace(b"FLAIR Schae ", b"FLAIR Sch\xe4del"[:12]))
        (warning,) = find_scan_cases(tmp_path, TCGA_LGG).warnings
        assert "flair is series 1 'FLAIR Schäde'" in warning

    def test_one_stray_file_beside_cases_makes_no_case(self, tmp_path):
        write_study(tmp_path / "P1")
        write_series(tmp_path, 1, "T1")
        scans = find_scan_cases(tmp_path, TCGA_LGG)
        assert [case["case"] for case in scans.cases] == ["P1"]
        assert any("3 DICOM files (1_0.dcm, 1_1.dcm, 1_2.dcm) not used" in warning for warning in scans.warnings)

    def test_nothing_but_damaged_files_is_told(self, tmp_path):
        (tmp_path / "P1").mkdir()
        (tmp_path / "P1/a.dcm").write_text("no image")
        with pytest.raises(FileNotFoundError, match="P1: holds files that look like DICOM, but none that can be read"):
            find_scan_cases(tmp_path, TCGA_LGG)
