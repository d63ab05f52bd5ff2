"""Which volumes lie on one grid."""

import numpy as np
import pytest

from passion_components.data.reading.grid import Grid

SHAPE = (240, 240, 155)


def grid(change=None, spacing=1.0):
    affine = np.diag([-spacing, -spacing, spacing, 1.0])
    return Grid("a.nii", SHAPE, affine if change is None else affine + change)


def entry(row, column, value):
    change = np.zeros((4, 4))
    change[row, column] = value
    return change


@pytest.mark.parametrize(
    ("change", "spacing", "one"),
    [
        (entry(0, 3, 0.004), 1.0, True),  # 4 microns of origin
        (entry(0, 3, 0.06), 1.0, False),
        (entry(0, 1, 0.0009), 1.0, False),  # 0.2 mm at the last row
        (entry(0, 1, 0.0002), 1.0, True),  # 0.048 mm
        (entry(2, 2, 0.0009), 1.0, False),  # 0.14 mm at the last slice
        (entry(0, 3, 0.004), 0.02, False),  # a fifth of such a voxel
    ],
)
def test_it_is_judged_in_millimetres_at_the_corners(change, spacing, one):
    assert grid(spacing=spacing).matches(grid(change, spacing)) is one
    assert grid(change, spacing).matches(grid(spacing=spacing)) is one


def test_another_number_of_voxels_is_another_grid():
    assert not grid().matches(Grid("b.nii", (240, 240, 154), grid().affine))
