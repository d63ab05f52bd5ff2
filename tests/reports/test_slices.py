"""Slices as pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.reading.grid import Grid
from passion_components.data.reading.volumes import Volume
from passion_components.datasets import BRATS2020, MYOPS2020
from passion_components.reports import slices

# voxels of a head in LPS: a mark at the patient's left, one in front, one at the top
LPS = np.zeros((4, 5, 6), np.float32)
LPS[3, 2, 1], LPS[1, 0, 1], LPS[1, 2, 5] = 1, 2, 3
TO_LPS = np.diag([-1.0, -2.0, 3.0, 1.0])


def stored_as(codes: str) -> Volume:
    """The same head in a file whose axes point as ``codes`` say."""
    image = nib.Nifti1Image(LPS, TO_LPS)
    turn = nib.orientations.ornt_transform(nib.io_orientation(TO_LPS), nib.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    return Volume(np.asarray(turned.dataobj), Grid("x", turned.shape, turned.affine), Path("x"))


class TestUpright:
    @pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "PIR", "SLA", "ASR"])
    def test_left_front_and_top_are_where_they_belong_however_a_file_is_stored(self, codes):
        array, spacing = slices.upright(stored_as(codes), BRATS2020)
        np.testing.assert_array_equal(array, LPS)
        assert spacing == pytest.approx((1, 2, 3))

    def test_axes_stay_where_the_data_set_names_none(self):
        volume = stored_as("PIR")
        array, spacing = slices.upright(volume, MYOPS2020)
        np.testing.assert_array_equal(array, volume.array)
        assert spacing == pytest.approx((2, 3, 1))


class TestSlice:
    def test_has_most_of_the_first_label_map_with_any(self):
        empty, reference, prediction = np.zeros((3, 3, 4)), np.zeros((3, 3, 4)), np.zeros((3, 3, 4))
        reference[0, 0, 1] = reference[:2, 0, 3] = 4
        prediction[..., 0] = 1
        assert slices.slice_with_most([reference, prediction]) == 3
        assert slices.slice_with_most([empty, prediction]) == 0
        assert slices.slice_with_most([empty]) == 2


class TestMasks:
    def test_every_code_of_a_class_belongs_to_its_regions(self):
        masks = slices.region_masks(np.array([[0, 200, 1220, 2221, 500, 600]]), MYOPS2020)
        assert {region: mask[0].nonzero()[0].tolist() for region, mask in masks.items()} == {
            "LVB": [4],
            "RVB": [5],
            "MYO": [1, 2, 3],
        }

    def test_box_holds_all_masks_with_a_margin_inside_the_picture(self):
        mask, other = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
        mask[2, 10], other[9, 12] = True, True
        assert slices.bounding_box([mask, other]) == (slice(0, 14), slice(6, 17))
        assert slices.bounding_box([np.zeros((20, 30), bool)]) == (slice(None), slice(None))

    def test_window_is_that_of_the_foreground(self):
        image = np.concatenate([np.zeros(900), np.arange(101.0)]).reshape(7, 11, 13)
        mask = slices.foreground(image, BRATS2020)
        assert mask.sum() == 100 and slices.window(image, mask) == pytest.approx((1.99, 99.01))

    def test_an_image_without_contrast_has_a_window(self):
        image = np.zeros((4, 4, 4))
        assert slices.window(image, slices.foreground(image, BRATS2020)) == (0, 1)

    def test_regions_are_those_of_the_data_set(self):
        spec = replace(BRATS2020, regions={"ET": (3,)})
        assert slices.region_masks(np.array([[4, 1]]), spec)["ET"].tolist() == [[True, False]]
