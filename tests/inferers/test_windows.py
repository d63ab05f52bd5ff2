"""How large windows are that fit an image."""

import math

import pytest

from passion_components.inferers.windows import fitted_windows


@pytest.mark.parametrize(
    ("image_size", "roi_size", "overlap", "expected"),
    [
        ((100, 100), (96, 96), 0.5, (104, 104)),  # nearly fits: whole
        ((96, 144), (96, 96), 0.5, (96, 144)),  # half as long again is still whole
        ((145, 128), (96, 96), 0.5, (104, 128)),  # 2 x 104 reach 156, 2 x 96 only 144
        ((144, 176, 144), (80, 80, 80), 0.5, (96, 120, 96)),  # two windows in place of 3, 4 and 3
        ((144, 176, 144), (80, 80, 80), 0.25, (88, 104, 88)),
        ((60, 400), (80, 80), 0.0, (80, 80)),  # 5 x 80 without any overlap
    ],
)
def test_the_fewest_voxels_are_computed(image_size, roi_size, overlap, expected):
    assert fitted_windows(image_size, roi_size, overlap=overlap, divisor=8) == expected


@pytest.mark.parametrize("overlap", [0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("divisor", [8, 16])
def test_they_are_what_the_network_takes_and_never_more_work_than_the_published_ones(overlap, divisor):
    def voxels(length, size):
        return size * (max(math.ceil((length - size) / int(size * (1 - overlap))), 0) + 1)

    for length in range(1, 400, 7):
        (size,) = fitted_windows((length,), (48,), overlap=overlap, divisor=divisor)
        assert 48 <= size <= 72 and size % divisor == 0
        assert voxels(length, size) <= voxels(length, 48)
