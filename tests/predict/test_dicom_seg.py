"""DICOM series in, DICOM SEG objects out, read back with pydicom and highdicom where these are installed."""

import json
from importlib.util import find_spec

import itk
import nibabel as nib
import numpy as np
import pytest

from passion_components.data.errors import CaseError, UserError
from passion_components.data.reading.volumes import read_volume
from passion_components.datasets import BRATS2020
from passion_components.predict import dicom_seg

TURNED = np.array([[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]])
SPACING = (9.0, 8.0, 5.0)
SHAPE = (20, 18, 6)
STUDY = {"x0020000d": "1.2.826.0.1.11", "x00200052": "1.2.826.0.1.12", "x00100020": "PAT7", "x00100010": "Doe^J"}

with_highdicom = pytest.mark.skipif(find_spec("highdicom") is None, reason="highdicom is not installed")


def write_series(folder, name, number, left_out=()):
    """A classic MR series of noise in a box, oblique, whose names are in no order of places."""
    values = np.zeros(SHAPE, np.uint16)
    values[3:-3, 3:-3] = np.random.default_rng(number).integers(100, 900, (14, 12, SHAPE[2]))
    folder.mkdir(parents=True)
    for index in range(SHAPE[2]):
        image = itk.image_from_array(np.ascontiguousarray(values[:, :, index : index + 1].transpose(2, 1, 0)))
        image.SetSpacing(SPACING)
        image.SetDirection(TURNED)
        image.SetOrigin(TURNED @ [-60, -50, index * SPACING[2]])
        tags = {**STUDY, "x00080060": "MR", "x00080016": "1.2.840.10008.5.1.4.1.1.4", "x0008103e": name}
        tags |= {"x0020000e": f"1.2.826.0.1.{number}", "x00080018": f"1.2.826.0.1.{number}.{index + 1}"}
        tags |= {"x00200011": str(number), "x00200013": str(index + 1)}
        for tag, value in tags.items():
            if tag not in left_out:
                image.GetMetaDataDictionary()[f"{tag[1:5]}|{tag[5:]}"] = value
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        itk.ImageFileWriter.New(image, ImageIO=io, FileName=str(folder / f"{index * 5 % 7}.dcm")).Update()
    return folder


@pytest.fixture
def scans(tmp_path):
    """P1 as T1 and FLAIR in DICOM."""
    for number, name in enumerate(("t1", "flair"), 4):
        write_series(tmp_path / "scans" / "P1" / name, name, number)
    return tmp_path / "scans"


@pytest.fixture
def series(tmp_path):
    return write_series(tmp_path / "series", "t1", 4)


@pytest.fixture
def classes():
    """A class map of BraTS2020 with a box of every class, each of a size of its own."""
    found = np.zeros(SHAPE, np.uint8)
    found[2:5, 3:9, 1:3], found[8:10, 4:8, 2:5], found[12:19, 10:17, 5] = 1, 2, 3
    return found


def write(path, classes, series, **changed):
    settings = {"case": "P1", "bundle": "brats2020_rfnet", "weights": "abc"} | changed
    dicom_seg.write_dicom_seg(path, classes, str(series), BRATS2020, **settings)


@with_highdicom
class TestWhatIsWritten:
    @pytest.fixture
    def found(self, tmp_path, classes, series):
        import highdicom

        write(tmp_path / "seg.dcm", classes, series)
        return highdicom.seg.segread(tmp_path / "seg.dcm")

    def test_segments_bear_the_names_of_the_classes(self, found):
        assert [segment.SegmentLabel for segment in found.SegmentSequence] == list(BRATS2020.classes[1:])
        assert list(found.segment_numbers) == [1, 2, 3]
        segment = found.get_segment_description(1)
        assert segment.algorithm_type.value == "AUTOMATIC"
        assert segment.algorithm_identification[0].AlgorithmName == "brats2020_rfnet"
        assert found.DeviceSerialNumber == "abc"

    def test_every_voxel_has_its_class_at_its_place(self, found, classes, series):
        """Compared in space, so that the order of slices and axes in the object does not matter."""
        volume = found.get_volume(combine_segments=True, relabel=False)
        ours = np.diag([-1.0, -1, 1, 1]) @ read_volume(series, case="P1").grid.affine
        for number in (1, 2, 3):
            theirs = np.argwhere(volume.array == number)
            places = np.c_[theirs, np.ones(len(theirs))] @ volume.affine.T
            expected = np.c_[np.argwhere(classes == number), np.ones((classes == number).sum())] @ ours.T
            assert len(places) == len(expected)
            apart = np.linalg.norm(places[:, None, :3] - expected[None, :, :3], axis=2)
            assert apart.min(1).max() < 1e-3 and apart.min(0).max() < 1e-3

    def test_it_belongs_to_the_patient_and_the_study_and_refers_to_every_image(self, found, series):
        import pydicom

        images = [pydicom.dcmread(file) for file in series.iterdir()]
        for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert found[name].value == images[0][name].value
        assert found.SeriesInstanceUID != images[0].SeriesInstanceUID
        (referred,) = found.ReferencedSeriesSequence
        assert referred.SeriesInstanceUID == images[0].SeriesInstanceUID
        there = {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence}
        assert there == {image.SOPInstanceUID for image in images}
        frames = found.PerFrameFunctionalGroupsSequence
        of_frames = {
            item.ReferencedSOPInstanceUID
            for frame in frames
            for derived in frame.DerivationImageSequence
            for item in derived.SourceImageSequence
        }
        assert of_frames and of_frames <= there

    def test_where_nothing_was_found_it_is_empty(self, tmp_path, classes, series):
        import highdicom

        write(tmp_path / "empty.dcm", 0 * classes, series)
        found = highdicom.seg.segread(tmp_path / "empty.dcm")
        assert not found.pixel_array.any() and len(found.SegmentSequence) == 3

    def test_it_is_replaced_by_the_next_one_and_a_strangers_file_is_not(self, tmp_path, classes, series):
        path = tmp_path / "seg.dcm"
        write(path, classes, series)
        first = path.read_bytes()
        write(path, classes, series)
        assert path.read_bytes() != first
        path.write_bytes(b"theirs")
        with pytest.raises(UserError, match="seg.dcm: exists already and was not written by this program"):
            write(path, classes, series)

    @pytest.mark.parametrize("absent", ["x00100020", "x00100010"])
    def test_what_was_anonymised_away_may_be_empty(self, tmp_path, classes, absent):
        write(tmp_path / "seg.dcm", classes, write_series(tmp_path / "s", "t1", 4, left_out=[absent]))
        assert (tmp_path / "seg.dcm").is_file()

    def test_a_series_without_frame_of_reference_is_refused_in_one_line(self, tmp_path, classes):
        import pydicom

        unplaced = write_series(tmp_path / "s", "t1", 4, left_out=["x00200052"])
        for file in unplaced.iterdir():
            image = pydicom.dcmread(file)
            image.FrameOfReferenceUID = None
            image.save_as(file)
        with pytest.raises(CaseError, match="^P1: .*/s lacks FrameOfReferenceUID, .* leave --dicom-seg out$"):
            write(tmp_path / "seg.dcm", classes, unplaced)


@with_highdicom
class TestPredict:
    def test_series_in_and_objects_out(self, passion, scans, tmp_path):
        import highdicom

        result = passion(scans, "--dicom-seg", "--resample-to", "t1")
        assert result.exit_code == 0
        found = highdicom.seg.segread(tmp_path / "out/P1/P1_seg.dcm")
        label_map = np.asarray(nib.load(tmp_path / "out/P1/P1_seg.nii.gz").dataobj)
        assert found.get_volume(combine_segments=True).array.sum() == label_map.sum()
        assert found.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.826.0.1.4"
        assert "1 of 1 cases are done already" in passion(scans, "--dicom-seg", "--resample-to", "t1").output
        (tmp_path / "out/P1/P1_seg.dcm").unlink()
        assert "1 of 1 cases done" in passion(scans, "--dicom-seg", "--resample-to", "t1").output
        passion(scans, "--force", "--resample-to", "t1")
        assert not (tmp_path / "out/P1/P1_seg.dcm").exists()

    def test_a_case_that_is_no_dicom_fails_and_the_others_go_on(self, passion, scans, write_scan, tmp_path):
        write_scan(scans / "P2/P2_t1.nii.gz", seed=1)
        result = passion(scans, "--dicom-seg")
        assert result.exit_code == 1 and (tmp_path / "out/P1/P1_seg.dcm").is_file()
        (failed,) = json.loads((tmp_path / "out/failures.json").read_text())
        assert failed["case"] == "P2" and "is no DICOM series" in failed["reason"] and "\n" not in failed["reason"]
        assert not (tmp_path / "out/P2").exists()


def test_an_enhanced_series_is_refused(tmp_path, monkeypatch, series):
    monkeypatch.setattr("passion_components.data.reading.dicom._ENHANCED", {"1.2.840.10008.5.1.4.1.1.4"})
    with pytest.raises(CaseError, match="^P1: .*series is enhanced multi-frame DICOM; accepted: a classic series"):
        dicom_seg._files(str(series), tmp_path, "P1")


def test_predictions_do_not_go_among_the_files_of_a_series(passion, tmp_path):
    """As with ``--out SCANS``: the next run could not read the series for the label map beside its files."""
    for number, name in ((4, "t1"), (5, "flair")):
        for file in write_series(tmp_path / name, name, number).iterdir():
            (tmp_path / "out" / "P1").mkdir(parents=True, exist_ok=True)
            file.rename(tmp_path / "out" / "P1" / f"{name}{file.name}")
    result = passion(tmp_path / "out")
    assert result.exit_code == 1 and "P1: its prediction would lie among the DICOM files of " in result.output
    assert not list(tmp_path.rglob("*_seg.nii.gz"))


def test_without_highdicom_nothing_begins(passion, scans, tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_seg, "find_spec", lambda name: None)
    result = passion(scans, "--dicom-seg")
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    assert "pip install 'passion-bundles[dicom-seg]'" in result.output
