"""Phantoms whose headers lie by known turns and shifts; elastix itself is an extra, without which most is skipped."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from passion_components.data.errors import CaseError, UserError
from passion_components.data.phantoms.brain import draw_brain
from passion_components.data.reading import registration
from passion_components.data.reading.grid import Grid
from passion_components.data.reading.volumes import Volume, moved_volume

SIZE = (60, 60, 40)
AFFINE = np.array([[-3.0, 0, 0, 90], [0, -3, 0, 80], [0, 0, 4, -70], [0, 0, 0, 1]])

with_elastix = pytest.mark.skipif(not registration.is_installed(), reason="itk-elastix is not installed")


@pytest.fixture(scope="module")
def sequences():
    images, _ = draw_brain(1, SIZE)
    return {
        name: Volume(array.astype(np.float32), Grid(name, SIZE, AFFINE), Path(name)) for name, array in images.items()
    }


def rigid(degrees, axis, shift, volume):
    """A turn about the centre of a volume and a shift in mm, (4, 4)."""
    centre = (volume.grid.affine @ [*((size - 1) / 2 for size in volume.grid.shape), 1])[:3]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


def left_over(matrix, volume):
    """How far (mm, at most, and degrees) the head in a volume moved by ``matrix`` lies from where it was."""
    head = np.argwhere(volume.array > 100)[::7]
    points = np.c_[head, np.ones(len(head))] @ volume.grid.affine.T
    apart = np.linalg.norm((points @ matrix.T - points)[:, :3], axis=1).max()
    return apart, np.degrees(Rotation.from_matrix(matrix[:3, :3]).magnitude())


@with_elastix
class TestAlignment:
    @pytest.mark.parametrize(
        ("name", "degrees", "axis", "shift"),
        [
            ("t1", 8, (0, 0, 1), (0, 0, 0)),
            ("flair", 0, (1, 0, 0), (12, -7, 9)),
            ("t2", 10, (1, -2, 0.5), (-15, 4, 6)),
            ("t1ce", 5, (0, 1, 1), (150, 0, -90)),
        ],
    )
    def test_known_turns_and_shifts_come_back_under_1_mm_and_1_degree(self, sequences, name, degrees, axis, shift):
        askew = rigid(degrees, axis, shift, sequences[name])
        volume, found = registration.align(
            moved_volume(sequences[name], askew), sequences["t1"], outside=0.0, case="P1"
        )
        apart, turned = left_over(found.matrix @ askew, sequences[name])
        assert apart < 1 and turned < 1
        assert found.degrees == pytest.approx(degrees, abs=1)
        assert found.millimetres == pytest.approx(np.linalg.norm(shift), abs=1)
        assert 1 <= found.before < found.after <= 2
        assert volume.grid is sequences["t1"].grid and volume.array.shape == SIZE
        brain = sequences[name].array > 100
        assert np.corrcoef(volume.array[brain], sequences[name].array[brain])[0, 1] > 0.9

    def test_another_grid_is_no_hindrance(self, sequences):
        """Every second slice of a scan with its axes swapped, as of another acquisition plane."""
        whole = sequences["t2"]
        affine = whole.grid.affine[:, [1, 2, 0, 3]] @ np.diag([2, 1, 1, 1])
        array = whole.array.transpose(1, 2, 0)[::2]
        other = Volume(array, Grid("t2", array.shape, affine), whole.path)
        askew = rigid(6, (1, 1, 0), (5, 5, -8), other)
        volume, found = registration.align(moved_volume(other, askew), sequences["t1"], outside=0.0, case="P1")
        apart, turned = left_over(found.matrix @ askew, other)
        assert apart < 1 and turned < 1
        assert volume.array.shape == SIZE

    def test_what_lies_right_stays(self, sequences):
        _, found = registration.align(sequences["flair"], sequences["t1"], outside=0.0, case="P1")
        apart, turned = left_over(found.matrix, sequences["flair"])
        assert apart < 1 and turned < 0.5

    def test_beyond_its_field_of_view_lies_the_background(self, sequences):
        part = sequences["flair"].array[:, :, 10:] - 1000
        affine = AFFINE @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 10], [0, 0, 0, 1.0]])
        short = Volume(part, Grid("flair", part.shape, affine), Path("flair"))
        volume, _ = registration.align(short, sequences["t1"], outside=-1000.0, case="P1")
        assert np.allclose(volume.array[:, :, :8], -1000)

    def test_where_elastix_makes_it_worse_the_headers_count(self, sequences, monkeypatch):
        worse = rigid(20, (1, 0, 0), (30, 0, 0), sequences["t2"])
        monkeypatch.setattr(registration, "_rigid", lambda *_: worse)
        volume, found = registration.align(sequences["t2"], sequences["t1"], outside=0.0, case="P1")
        assert np.array_equal(found.matrix, np.eye(4)) and found.before == found.after
        assert np.allclose(volume.array, sequences["t2"].array, atol=1e-2)

    @pytest.mark.parametrize(
        ("part", "reason"),
        [(np.s_[:, :, 20:21], "t2 has 60 x 60 x 1 voxels"), (np.s_[28:33, 28:33, 18:23], "elastix gave up")],
    )
    def test_what_cannot_be_aligned_is_told_in_one_line(self, sequences, part, reason):
        array = sequences["t2"].array[part]
        small = replace(sequences["t2"], array=array, grid=Grid("t2", array.shape, AFFINE))
        with pytest.raises(CaseError, match=f"^P1: t2 cannot be aligned to t1 .*{reason}.* by hand$") as caught:
            registration.align(small, sequences["t1"], outside=0.0, case="P1")
        assert "\n" not in str(caught.value)


def test_without_elastix_one_line_says_what_to_install(sequences, monkeypatch):
    monkeypatch.setattr(registration, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'passion-bundles\[register\]'$") as caught:
        registration.align(sequences["t2"], sequences["t1"], outside=0.0, case="P1")
    assert "\n" not in str(caught.value)


def test_equal_images_tell_all_of_each_other_and_a_shuffled_one_nothing(sequences):
    t1 = sequences["t1"]
    shuffled = replace(t1, array=np.random.default_rng(0).permutation(t1.array.ravel()).reshape(SIZE))
    assert registration.shared_information(t1, t1, outside=0.0)(np.eye(4)) == pytest.approx(2, abs=1e-6)
    assert registration.shared_information(shuffled, t1, outside=0.0)(np.eye(4)) < 1.05
