"""Label maps beside the images that they belong to, and slices that are there twice."""

import numpy as np
import pytest

from passion_components.data.checks.findings import Kind
from passion_components.data.checks.label_place import LabelSurface, repeated_slices


@pytest.fixture
def box():
    """A bright box, (8, 6, 4), off the middle of the first two axes, in a field of 1; its label map."""
    label = np.zeros((8, 6, 4), np.float32)
    label[1:3, 1:4, 1:3] = 4
    return np.where(label > 0, 3, 1).astype(np.float32), label


def test_a_label_map_in_its_place_fits_best_as_it_is(box):
    image, label = box
    surface = LabelSurface(label)
    surface.add(image)
    place = surface.place()
    assert place.outside == 0 and place.mirrored[0] == 0 and 0 < place.mirrored[1] < 1
    assert place.mirrored[2] == pytest.approx(1)  # symmetric there


def test_mirrored_back_it_fits_better(box):
    image, label = box
    surface = LabelSurface(label[::-1])
    image[6, 1, 1] = 2.5  # some step where it lies
    surface.add(image)
    assert surface.place().mirrored[0] > 5


def test_the_share_outside_is_that_of_all_sequences(box):
    image, label = box
    image[1] = 0
    surface = LabelSurface(label)
    surface.add(image)
    assert surface.place().outside == 0.5
    other = np.ones_like(image)
    other[:, 1] = 0
    surface.add(other)
    assert surface.place().outside == pytest.approx(1 / 6)


def test_without_foreground_or_images_there_is_nothing_to_tell(box):
    image, label = box
    assert LabelSurface(label).place() is None
    empty = LabelSurface(np.zeros_like(label))
    empty.add(image)
    assert empty.place() is None


def test_slices_count_that_equal_the_one_before(box):
    image = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    assert repeated_slices(image) == 0
    assert repeated_slices(np.repeat(image, 2, axis=1)) == 5
    assert repeated_slices(np.zeros((4, 4, 4), np.float32)) == 0


class TestFindings:
    def test_a_mirrored_label_map(self, drawn):
        drawn.change(drawn.first, "label", lambda array: array[:, :, ::-1])
        found = [finding for finding in drawn.report().findings if finding.kind is Kind.MIRRORED]
        assert len(found) == 1 and "P1_label.nii.gz fits the images 1." in found[0].message
        assert "mirrored along axis 2 of the array" in found[0].message

    def test_a_shifted_label_map(self, drawn):
        drawn.change(drawn.first, "label", lambda array: np.roll(array, 5, axis=0))
        found = [finding for finding in drawn.report().findings if finding.kind is Kind.OUTSIDE]
        assert len(found) == 1 and "% of the foreground of" in found[0].message

    def test_repeated_slices(self, drawn):
        drawn.change(drawn.first, "t1", lambda array: np.concatenate([array[:, :, :9], array[:, :, 8:15]], axis=2))
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.REPEATED_SLICES and cases == ["P1"]
        assert "P1_t1.nii.gz holds 1 slices that equal the one before them" in message

    def test_a_region_that_one_label_map_lacks(self, drawn):
        drawn.change(drawn.first, "label", lambda array: np.where(array == 4, 1, array))
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.LACKING_REGION and cases == ["P1"]
        assert "ET is not in 1 of 4 with foreground (training P1)" in message
