import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from passion_components.datasets import BRATS2020, MYOPS2020
from passion_components.transforms.restore import write_label_map, write_probabilities

SHAPE = (3, 4, 5)
GEOMETRY = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
GEOMETRY += ("srow_x", "srow_y", "srow_z", "xyzt_units")


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A scan whose qform and sform disagree, with codes, units and texts of its own."""
    image = nib.Nifti1Image(np.ones(SHAPE, dtype=np.int16), np.eye(4))
    image.set_qform(np.array([[0.0, -2, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]), code=1)
    image.set_sform(np.array([[0.1, -2, 0, 5.25], [1.5, 0.1, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]), code=4)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"name of a patient"
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def class_map() -> torch.Tensor:
    return (torch.arange(60) % 4).to(torch.uint8).reshape(SHAPE)


class TestWriteLabelMap:
    def test_codes_of_the_data_set_stand_in_the_file(self, scan, class_map, tmp_path):
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map, scan, BRATS2020)
        image = nib.load(tmp_path / "P1_seg.nii.gz")
        assert image.get_data_dtype() == np.uint8
        assert np.array_equal(np.asanyarray(image.dataobj), np.array([0, 1, 2, 4])[class_map])

    def test_large_codes_are_kept(self, scan, class_map, tmp_path):
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map, scan, MYOPS2020)
        image = nib.load(tmp_path / "P1_seg.nii.gz")
        assert image.get_data_dtype() == np.int16 and np.asanyarray(image.dataobj).max() == 600

    @pytest.mark.parametrize(("qform", "sform"), [(1, 4), (2, 0), (0, 1), (0, 0)])
    def test_the_geometry_is_that_of_the_scan_to_the_bit(self, scan, class_map, tmp_path, qform, sform):
        header = nib.load(scan).header.copy()
        header["qform_code"], header["sform_code"] = qform, sform
        nib.save(nib.Nifti1Image(np.ones(SHAPE, dtype=np.int16), None, header), tmp_path / "other.nii.gz")
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map, tmp_path / "other.nii.gz", BRATS2020)
        written, expected = nib.load(tmp_path / "P1_seg.nii.gz"), nib.load(tmp_path / "other.nii.gz")
        assert written.shape == SHAPE and np.array_equal(written.affine, expected.affine)
        assert all(np.array_equal(written.header[field], expected.header[field]) for field in GEOMETRY)
        assert np.array_equal(written.header["pixdim"][:4], expected.header["pixdim"][:4])

    def test_of_a_flat_scan_it_is_a_single_slice_in_the_same_place(self, class_map, tmp_path):
        flat = nib.Nifti1Image(np.ones(SHAPE[:2], dtype=np.int16), np.diag([-0.3, -0.4, 1, 1]))
        nib.save(flat, tmp_path / "flat.nii.gz")
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map[..., :1], tmp_path / "flat.nii.gz", BRATS2020)
        written = nib.load(tmp_path / "P1_seg.nii.gz")
        assert written.shape == (*SHAPE[:2], 1)
        assert np.array_equal(written.affine, nib.load(tmp_path / "flat.nii.gz").affine)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("s.mgz", nib.MGHImage), ("s.img", nib.Nifti1Pair), ("s.nii", nib.Nifti2Image), ("S.NII", nib.Nifti1Image)],
    )
    def test_relatives_of_nifti_are_written_as_nifti_in_their_place(self, class_map, tmp_path, name, kind):
        affine = np.array([[0.0, -2, 0, 5], [1.5, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
        nib.save(kind(np.ones(SHAPE, np.float32), affine), tmp_path / name)
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map, tmp_path / name, BRATS2020)
        written = nib.load(tmp_path / "P1_seg.nii.gz")
        assert np.allclose(written.affine, affine) and np.asanyarray(written.dataobj).max() == 4

    def test_values_are_stored_unscaled(self, scan, class_map, tmp_path):
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map, scan, BRATS2020)
        with gzip.open(tmp_path / "P1_seg.nii.gz") as file:
            header = nib.Nifti1Header.from_fileobj(file, check=False)
        assert float(header["scl_slope"]) == 1 and float(header["scl_inter"]) == 0

    def test_texts_of_the_scan_are_not_copied(self, scan, class_map, tmp_path):
        write_label_map(tmp_path / "P1_seg.nii.gz", class_map, scan, BRATS2020)
        assert b"patient" not in gzip.decompress((tmp_path / "P1_seg.nii.gz").read_bytes())

    def test_folders_are_made_and_nothing_else_is_left(self, scan, class_map, tmp_path):
        write_label_map(tmp_path / "out" / "P1" / "P1_seg.nii.gz", class_map, scan, BRATS2020)
        assert [path.name for path in (tmp_path / "out" / "P1").iterdir()] == ["P1_seg.nii.gz"]

    def test_another_shape_is_refused_and_the_old_file_stays(self, scan, class_map, tmp_path):
        path = tmp_path / "P1_seg.nii.gz"
        path.write_text("old")
        with pytest.raises(ValueError, match=r"P1_seg.nii.gz: expected the shape of .*scan.nii.gz, \(3, 4, 5\)"):
            write_label_map(path, class_map[:2], scan, BRATS2020)
        assert path.read_text() == "old"

    def test_a_prediction_replaces_one_but_no_truth(self, scan, class_map, tmp_path):
        path = tmp_path / "P1_seg.nii.gz"
        for _ in range(2):
            write_label_map(path, class_map, scan, BRATS2020)
        truth = nib.Nifti1Image(np.zeros(SHAPE, dtype=np.uint8), np.eye(4))
        nib.save(truth, path)
        before = path.read_bytes()
        with pytest.raises(ValueError, match="P1_seg.nii.gz: exists already and was not written by this program"):
            write_label_map(path, class_map, scan, BRATS2020)
        assert path.read_bytes() == before


class TestWriteProbabilities:
    def test_classes_are_the_last_axis_and_the_geometry_is_that_of_the_scan(self, scan, tmp_path):
        probabilities = torch.rand(4, *SHAPE).softmax(0)
        write_probabilities(tmp_path / "p.nii.gz", probabilities, scan)
        written = nib.load(tmp_path / "p.nii.gz")
        assert written.get_data_dtype() == np.float32 and np.array_equal(written.affine, nib.load(scan).affine)
        assert np.array_equal(np.moveaxis(np.asanyarray(written.dataobj), -1, 0), probabilities.numpy())
