import errno
import gzip

import itk
import nibabel as nib
import numpy as np
import pytest

from passion_components.data.errors import CaseError
from passion_components.data.reading.volumes import read_volume

TILTED = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])


def forbidden(path, *_):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


def test_a_scan_that_may_not_be_read_is_no_full_or_read_only_output_folder(tmp_path, monkeypatch):
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2)), np.eye(4)), tmp_path / "t1.nii")
    monkeypatch.setattr("passion_components.data.reading.nifti.open", forbidden, raising=False)
    with pytest.raises(CaseError, match=r"^P1: .*t1.nii cannot be read \(permission denied\); expected"):
        read_volume(tmp_path / "t1.nii", case="P1")


@pytest.fixture
def image():
    """An itk image 7 x 6 x 5 of 0.9 x 0.8 x 3 mm, tilted, and its values (x, y, z)."""
    values = np.random.default_rng(0).integers(0, 900, (7, 6, 5)).astype(np.uint16)
    made = itk.image_from_array(np.ascontiguousarray(values.transpose(2, 1, 0)))
    made.SetSpacing([0.9, 0.8, 3.0])
    made.SetOrigin([-10, -20, 30])
    made.SetDirection(itk.matrix_from_array(TILTED))
    return made, values


def write_series(folder, image, uid="1.2.3", leave_out=()):
    folder.mkdir(exist_ok=True)
    array = itk.array_from_image(image)
    for index in set(range(len(array))) - set(leave_out):
        piece = itk.image_from_array(array[index : index + 1])
        piece.SetSpacing(image.GetSpacing())
        piece.SetDirection(image.GetDirection())
        piece.SetOrigin(np.array(image.GetOrigin()) + TILTED @ [0, 0, index * image.GetSpacing()[2]])
        tags = piece.GetMetaDataDictionary()
        for tag, value in {"0008|0060": "MR", "0020|000e": uid, "0008|0018": f"{uid}.{index}"}.items():
            tags[tag] = value
        io = itk.GDCMImageIO.New()
        io.KeepOriginalUIDOn()
        writer = itk.ImageFileWriter.New(piece, ImageIO=io, FileName=str(folder / f"{uid}-{index * 3 % 5}.dcm"))
        writer.Update()


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd", "a.nii.gz", "series"])
def test_every_kind_of_file_gives_the_same_values_in_the_same_place(image, tmp_path, name):
    made, values = image
    if name == "series":
        write_series(tmp_path / name, made)
    else:
        itk.imwrite(made, str(tmp_path / name))
    volume = read_volume(tmp_path / name, case="P1")
    assert np.array_equal(volume.array, values) and volume.grid.file == name
    expected = np.eye(4)
    expected[:3, :3], expected[:3, 3] = TILTED * [0.9, 0.8, 3.0], [-10, -20, 30]
    assert np.allclose(volume.grid.affine, np.diag([-1, -1, 1, 1]) @ expected, atol=1e-4)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.nii.gz"])
def test_a_flat_image_is_a_single_slice_in_its_place(tmp_path, name):
    values = np.arange(20, dtype=np.int16).reshape(4, 5)
    made = itk.image_from_array(np.ascontiguousarray(values.T))
    made.SetSpacing([0.3, 0.4])
    made.SetOrigin([10, 20])
    itk.imwrite(made, str(tmp_path / name))
    volume = read_volume(tmp_path / name, case="P1")
    assert np.array_equal(volume.array, values[..., None])
    expected = [[-0.3, 0, 0, -10], [0, -0.4, 0, -20], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert np.allclose(volume.grid.affine, expected, atol=1e-5)


def refusal(path):
    with pytest.raises(CaseError) as caught:
        read_volume(path, case="P1")
    message = str(caught.value)
    assert message.startswith("P1: ") and str(path) in message and "\n" not in message
    return message


class TestSeries:
    def test_two_of_them_in_one_folder_are_named(self, image, tmp_path):
        write_series(tmp_path / "d", image[0])
        write_series(tmp_path / "d", image[0], uid="1.2.4")
        message = refusal(tmp_path / "d")
        assert "holds 2 DICOM series (series 1.2.3, series 1.2.4)" in message and "in a folder of its own" in message

    def test_a_missing_slice_is_told(self, image, tmp_path):
        write_series(tmp_path / "d", image[0], leave_out=[2])
        assert "slices at uneven distances, up to 2.00 mm off: 1 of them missing" in refusal(tmp_path / "d")

    def test_a_folder_without_one_is_told(self, tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "a.dcm").write_text("no image")
        assert "holds no DICOM series" in refusal(tmp_path / "d")


class TestDamagedFiles:
    def test_a_truncated_one(self, image, tmp_path):
        path = tmp_path / "a.nrrd"
        itk.imwrite(image[0], str(path), compression=False)
        path.write_bytes(path.read_bytes()[:-100])
        assert "cannot be read" in refusal(path) and "expected a complete NRRD or MetaImage" in refusal(path)

    def test_one_that_is_something_else(self, tmp_path):
        (tmp_path / "a.mha").write_text("hello")
        assert "cannot be read (Could not create IO object" in refusal(tmp_path / "a.mha")


class TestVolumesOfAStack:
    @pytest.fixture
    def stack(self, tmp_path):
        values = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "s.nii.gz")
        return tmp_path / "s.nii.gz", values

    def test_are_named_by_number(self, stack):
        path, values = stack
        for index in (0, 1):
            assert np.array_equal(read_volume(f"{path}#{index}", case="P1").array, values[..., index])

    def test_one_that_is_not_there_is_told(self, stack, tmp_path):
        assert "has 2 volumes; there is no #2" in refusal_of(f"{stack[0]}#2")
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "flat.nii")
        assert "has 2 x 2 x 2 voxels, so there is no #1; expected a 4D file" in refusal_of(f"{tmp_path / 'flat.nii'}#1")

    def test_without_a_number_the_way_to_name_one_is_told(self, stack):
        assert "or name one of them as s.nii.gz#0" in refusal(stack[0])


def refusal_of(path):
    with pytest.raises(CaseError) as caught:
        read_volume(path, case="P1")
    return str(caught.value)


def test_a_compressed_file_is_read_up_to_its_checksum(tmp_path):
    """One bit changed in what gzip of level 0 keeps as it is: only the checksum can tell."""
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(1000, dtype=np.float32).reshape(10, 10, 10), np.eye(4)), path)
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[-100] ^= 4
    path.write_bytes(content)
    assert "cannot be read (CRC check failed" in refusal(path)
