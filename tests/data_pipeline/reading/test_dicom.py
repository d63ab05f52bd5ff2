"""DICOM series: read right, or refused in words of their own."""

import gzip
import sys
import types

import itk
import nibabel as nib
import numpy as np
import pytest

from passion_components.data.errors import CaseError
from passion_components.data.reading.volumes import read_volume

TURNED = np.array([[np.cos(0.3), 0, np.sin(0.3)], [0, 1, 0], [-np.sin(0.3), 0, np.cos(0.3)]])
VALUES = np.random.default_rng(0).integers(0, 900, (7, 6, 5)).astype(np.uint16)
STEP = TURNED @ [0, 0, 3]


def written(path, values, *, origin=(0, 0, 0), spacing=(0.9, 0.8, 3), direction=TURNED, **tags):
    """A DICOM file (x, y, frames) written by ITK, implicit little endian; tags as x00200032="..."."""
    image = itk.image_from_array(
        np.ascontiguousarray(np.moveaxis(values, (0, 1, 2), (2, 1, 0))), is_vector=values.ndim > 3
    )
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    meta = image.GetMetaDataDictionary()
    for tag, value in {"x00080060": "MR", "x0020000e": "1.2.3", **tags}.items():
        meta[f"{tag[1:5]}|{tag[5:]}"] = value
    io = itk.GDCMImageIO.New()
    io.KeepOriginalUIDOn()
    itk.ImageFileWriter.New(image, ImageIO=io, FileName=str(path)).Update()
    return path


def slice_of(folder, index, *, position=None, name=None, **settings):
    """The slice of VALUES at an index; names are in no order of places."""
    folder.mkdir(exist_ok=True)
    tags = {"x00080018": f"1.2.3.{index}", **settings}
    origin = index * STEP if position is None else position
    return written(folder / (name or f"{index * 3 % 5}.dcm"), VALUES[:, :, index : index + 1], origin=origin, **tags)


def series(folder, indices=range(5), **settings):
    return [slice_of(folder, index, **settings) for index in indices]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "d"


def refusal(folder):
    with pytest.raises(CaseError) as caught:
        read_volume(folder, case="P1")
    message = str(caught.value)
    assert message.startswith(f"P1: {folder} ") and "\n" not in message
    return message


def assert_read(folder):
    volume = read_volume(folder, case="P1")
    assert np.array_equal(volume.array, VALUES)
    expected = np.diag([-1.0, -1.0, 1.0, 1.0])
    expected[:3, :3] = expected[:3, :3] @ (TURNED * [0.9, 0.8, 3])
    assert np.allclose(volume.grid.affine, expected, atol=1e-4)


class TestWhatIsRead:
    def test_slice_thickness_5_and_5_0_are_one_series(self, folder):
        for index in range(5):
            slice_of(folder, index, x00180050="5" if index % 2 else "5.0")
        assert_read(folder)

    def test_files_without_ending_among_others(self, folder):
        for file in series(folder):
            file.rename(file.with_suffix(""))
        for name in ("A.txt", "B.json", "C.xml", "DICOMDIR"):
            (folder / name).write_text("no image")
        assert_read(folder)

    def test_files_without_preamble(self, folder):
        for file in series(folder):
            file.write_bytes(file.read_bytes()[132:])
        assert_read(folder)

    def test_compressed_files(self, folder):
        for file in series(folder):
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
        assert_read(folder)


class TestWhatIsRefused:
    @pytest.mark.parametrize("kept", [-20, 400, 200])
    def test_a_file_that_is_cut_off_is_named(self, folder, kept):
        file = series(folder)[4]
        file.write_bytes(file.read_bytes()[:kept])
        assert f"holds {file.name}, which cannot be read to the end (cut off?), beside 4 that can" in refusal(folder)

    def test_a_file_that_may_not_be_read_is_named(self, folder, monkeypatch):
        def forbidden(*_):
            raise PermissionError

        file = series(folder)[4]
        file.write_bytes(b"")  # as ITK sees it
        monkeypatch.setattr("passion_components.data.reading.dicom_headers.open", forbidden, raising=False)
        assert f"holds {file.name}, which cannot be read to the end" in refusal(folder)

    @pytest.mark.parametrize("tag", [b"\x20\0\x32\0", b"\x20\0\x37\0", b"\x28\0\x30\0"])
    def test_no_geometry(self, folder, tag):
        for file in series(folder):
            content = file.read_bytes()
            assert content.count(tag) == 1
            file.write_bytes(content.replace(tag, tag[:2] + bytes([tag[2] - 1]) + tag[3:]))
        assert "does not say where its slices lie (0.dcm lacks" in refusal(folder)

    def test_one_position_twice(self, folder):
        series(folder)
        slice_of(folder, 4, position=3 * STEP)
        assert "holds several images at one position (2.dcm and 4.dcm;" in refusal(folder)

    def test_two_echoes(self, folder):
        series(folder, x00180081="10")
        for index in range(5):
            slice_of(folder, index, name=f"second{index}", x00080018=f"1.2.4.{index}", x00180081="100")
        assert "holds 2 echoes (echo times 10, 100 ms)" in refusal(folder)

    def test_a_copied_file(self, folder):
        files = series(folder)
        (folder / "copy.dcm").write_bytes(files[2].read_bytes())
        assert f"holds the same image twice, {files[2].name} and copy.dcm" in refusal(folder)

    def test_slices_shifted_by_a_tilted_gantry(self, folder):
        for index in range(5):
            slice_of(folder, index, position=index * (STEP + TURNED @ [0, 1.2, 0]))
        assert "shifted against each other in their plane, by 1.20 mm from one to the next" in refusal(folder)

    def test_missing_slices_are_counted_and_placed(self, folder):
        series(folder, [0, 1, 4])
        assert "up to 3.00 mm off: 2 of them missing, the first run of them between 3.dcm and 2.dcm" in refusal(folder)

    def test_unequal_distances(self, folder):
        for index in range(5):
            slice_of(folder, index, position=STEP * (index + 0.2 * (index == 2)))
        assert "uneven distances, up to 0.60 mm off (from 2.40 to 3.60 mm)" in refusal(folder)

    def test_several_directions(self, folder):
        series(folder, range(4))
        slice_of(folder, 4, direction=np.eye(3))
        assert "holds slices in several directions (0.dcm and 2.dcm), as a localizer does" in refusal(folder)

    def test_several_sizes(self, folder):
        series(folder, range(4))
        slice_of(folder, 4, spacing=(1, 1, 3))
        assert "holds slices of different sizes (0.dcm and 2.dcm)" in refusal(folder)

    def test_colours(self, folder):
        folder.mkdir()
        written(folder / "a.dcm", np.zeros((7, 6, 1, 3), np.uint8))
        assert "holds colours" in refusal(folder)

    def test_a_compressed_file_that_is_a_bomb(self, folder, monkeypatch):
        monkeypatch.setattr("passion_components.data.reading.dicom_headers.MAX_VOXELS", 2**19)
        folder.mkdir()
        (folder / "a.dcm.gz").write_bytes(gzip.compress(bytes(2**21)))
        with pytest.raises(CaseError, match=r"a.dcm.gz unpacks to more than the 1 MiB accepted"):
            read_volume(folder, case="P1")


class TestEnhancedMultiFrame:
    @pytest.fixture
    def enhanced(self, folder):
        folder.mkdir()
        written(folder / "a.dcm", VALUES)
        return folder

    def test_without_dcm2niix_the_way_to_install_it_is_told(self, enhanced, monkeypatch):
        monkeypatch.setitem(sys.modules, "dcm2niix", None)
        assert "enhanced multi-frame DICOM, which needs dcm2niix: pip install dcm2niix" in refusal(enhanced)

    def test_with_dcm2niix_it_is_one_volume(self, enhanced, monkeypatch, tmp_path):
        nib.save(nib.Nifti1Image(VALUES, np.diag([-1, 1, 2, 1])), tmp_path / "made.nii")
        program = tmp_path / "program"
        program.write_text(
            f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp "{tmp_path}/made.nii" "$2/volume.nii"\n'
        )
        program.chmod(0o755)
        monkeypatch.setitem(sys.modules, "dcm2niix", types.SimpleNamespace(bin=str(program)))
        volume = read_volume(enhanced, case="P1")
        assert np.array_equal(volume.array, VALUES) and np.allclose(volume.grid.affine, np.diag([-1, 1, 2, 1]))

    def test_several_volumes_are_counted(self, enhanced, monkeypatch, tmp_path):
        program = tmp_path / "program"
        program.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ntouch "$2/a.nii" "$2/b.nii"\necho done\n')
        program.chmod(0o755)
        monkeypatch.setitem(sys.modules, "dcm2niix", types.SimpleNamespace(bin=str(program)))
        assert "gives 2 volumes with dcm2niix (done)" in refusal(enhanced)

    def test_the_real_one_reads_it(self, enhanced):
        pytest.importorskip("dcm2niix")
        assert np.array_equal(np.sort(read_volume(enhanced, case="P1").array, axis=None), np.sort(VALUES, axis=None))
