"""NIfTI and its relatives: what the header says of axes, units and places."""

import logging
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.errors import CaseError
from passion_components.data.reading.volumes import non_finite_problem, read_volume

AFFINE = np.diag([-1.0, -2.0, 3.0, 1.0])


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(10, 11, 12)).astype(np.float32)


def saved(path, array, affine=AFFINE, kind=nib.Nifti1Image):
    nib.save(kind(array, affine), path)
    return path


def refusal(path):
    with pytest.raises(CaseError) as caught:
        read_volume(path, case="P1")
    message = str(caught.value)
    assert message.startswith("P1: ") and "\n" not in message
    return message


class TestChannels:
    @pytest.mark.parametrize("index", ["", "#0", "#3"])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_in_front_are_refused_and_no_volume_of_them_is_offered(self, tmp_path, channels, index):
        path = saved(tmp_path / "s.nii.gz", np.zeros((channels, 10, 11, 12), np.int16))
        message = refusal(f"{path}{index}")
        assert f"{channels} x 10 x 11 x 12 voxels, and its first axis looks like channels" in message
        assert "#0" not in message.replace(f"{path}{index}", "")

    def test_in_a_fifth_dimension_are_refused(self, tmp_path):
        path = saved(tmp_path / "s.nii.gz", np.zeros((10, 11, 12, 1, 3), np.float32))
        assert "its last axis looks like channels" in refusal(path)

    def test_of_colour_are_refused(self, tmp_path):
        colours = np.zeros((4, 4, 4), dtype=[(name, "u1") for name in "RGB"])
        assert "holds colours" in refusal(saved(tmp_path / "c.nii.gz", colours))

    def test_one_class_of_a_one_hot_label_map_is_no_label_map(self, tmp_path, values):
        classes = np.eye(4, dtype=np.uint8)[np.digitize(values, [-1, 0, 1])]
        path = saved(tmp_path / "seg.nii.gz", classes)
        assert "one number per voxel" in refusal(path)
        assert "holds one class per volume" in refusal(f"{path}#1")

    def test_volumes_of_a_stack_of_sequences_are_read(self, tmp_path, values):
        stack = np.stack([values, values > 0, values < 0], axis=-1).astype(np.float32)
        path = saved(tmp_path / "s.nii.gz", stack)
        assert np.array_equal(read_volume(f"{path}#1", case="P1").array, values > 0)


@pytest.mark.parametrize(("unit", "length"), [("meter", 0.001), ("mm", 1.0), ("micron", 1000.0), ("unknown", 1.0)])
def test_units_become_millimetres(tmp_path, values, unit, length):
    image = nib.Nifti1Image(values, np.diag([length, 2 * length, 3 * length, 1]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    assert np.allclose(read_volume(tmp_path / "a.nii", case="P1").grid.affine, np.diag([1, 2, 3, 1]), rtol=1e-6)


def patched(path, array, **fields):
    """A file whose header is changed after it was written, as no library would write it."""
    content = saved(path, array).read_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


class TestOddHeaders:
    def test_voxels_that_begin_in_the_header_are_refused(self, tmp_path, values):
        path = patched(tmp_path / "a.nii", values, vox_offset=0)
        assert "cannot be read (its header says that the voxels begin at byte 0)" in refusal(path)

    def test_units_that_are_none_are_millimetres(self, tmp_path, values):
        path = patched(tmp_path / "a.nii", values, xyzt_units=63)
        assert np.allclose(read_volume(path, case="P1").grid.affine, AFFINE)

    def test_a_qform_that_is_no_rotation_is_doubtful_where_the_sform_tells(self, tmp_path, values):
        broken = dict.fromkeys(("quatern_b", "quatern_c", "quatern_d"), 1)
        volume = read_volume(patched(tmp_path / "a.nii", values, qform_code=1, **broken), case="P1")
        assert np.allclose(volume.grid.affine, AFFINE) and "its sform and its qform differ" in volume.doubt
        path = patched(tmp_path / "b.nii", values, qform_code=1, sform_code=0, **broken)
        assert "cannot be read (w2 should be positive" in refusal(path)

    def test_two_sizes_of_voxels_are_doubtful(self, tmp_path, values):
        path = patched(tmp_path / "a.nii", values, pixdim=[1, 1, 2, 0.5, 0, 0, 0, 0])
        volume = read_volume(path, case="P1")
        assert np.allclose(volume.grid.affine, AFFINE)
        assert "two sizes, 1 x 2 x 0.5 by pixdim and 1 x 2 x 3 by its sform" in volume.doubt


class TestRelatives:
    @pytest.mark.parametrize(
        ("name", "kind"),
        [("a.mgz", nib.MGHImage), ("a.mgh", nib.MGHImage), ("a.img", nib.Nifti1Pair), ("a.nii.gz", nib.Nifti2Image)],
    )
    def test_are_read(self, tmp_path, values, name, kind):
        volume = read_volume(saved(tmp_path / name, values, kind=kind), case="P1")
        assert np.array_equal(volume.array, values) and volume.array.dtype == np.float32
        assert np.allclose(volume.grid.affine, AFFINE)

    @pytest.mark.parametrize(("name", "spelt"), [("a.nii", "a.Nii"), ("a.nii.gz", "a.NII.Gz"), ("a.mgz", "a.MGZ")])
    def test_capitals_in_the_ending_do_not_matter(self, tmp_path, values, name, spelt):
        kind = nib.MGHImage if name == "a.mgz" else nib.Nifti1Image
        os.rename(saved(tmp_path / name, values, kind=kind), tmp_path / spelt)
        assert np.array_equal(read_volume(tmp_path / spelt, case="P1").array, values)

    def test_analyze_which_tells_no_left_from_right_is_refused(self, tmp_path, values):
        assert "expected NIfTI" in refusal(saved(tmp_path / "a.img", values, kind=nib.AnalyzeImage))


class TestPlacesInDoubt:
    def test_neither_form_is_warned_about_once_per_file(self, tmp_path, values, caplog):
        path = saved(tmp_path / "a.nii", values, affine=None)
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                read_volume(path, case="P1")
        [record] = caplog.records
        assert record.getMessage().startswith(f"P1: {path}: its header has neither sform nor qform")
        assert "guessed (axes LAS)" in record.getMessage()

    def test_two_different_forms_are_warned_about(self, tmp_path, values, caplog):
        image = nib.Nifti1Image(values, AFFINE)
        image.set_qform(AFFINE + np.eye(4, k=3), code=1)
        nib.save(image, tmp_path / "a.nii")
        assert np.allclose(read_volume(tmp_path / "a.nii", case="P1").grid.affine, AFFINE)
        assert "its sform and its qform differ; the sform is used" in caplog.text

    def test_two_equal_forms_are_not(self, tmp_path, values, caplog):
        image = nib.Nifti1Image(values, AFFINE)
        image.set_qform(AFFINE, code=1)
        nib.save(image, tmp_path / "a.nii")
        assert not read_volume(tmp_path / "a.nii", case="P1").doubt and not caplog.records


@pytest.mark.full
def test_the_command_for_a_background_of_nan_repairs_it(tmp_path, values):
    path = saved(tmp_path / "it's a scan.nii.gz", np.where(values > 1, np.nan, values))
    message = non_finite_problem(path, 7)
    assert "holds 7 NaN or infinite voxels" in message and "\n" not in message
    command = message[message.index("python -c") :].replace("python", sys.executable, 1)
    subprocess.run(["bash", "-c", command], check=True)
    repaired = read_volume(tmp_path / "repaired_it's a scan.nii.gz", case="P1")
    assert np.array_equal(repaired.array, np.where(values > 1, 0, values)) and np.allclose(repaired.grid.affine, AFFINE)
