import numpy as np
import pytest

from passion_components.data.phantoms.fields import (
    binomial_blur,
    ellipsoid,
    random_direction,
    random_stream,
    smooth_field,
    tube,
    voxel_grid,
)


class TestRandomStream:
    def test_same_name_same_numbers(self):
        assert random_stream(0, 17, "a").random() == random_stream(0, 17, "a").random()

    @pytest.mark.parametrize("other", [(1, 17, "a"), (0, 18, "a"), (0, 17, "b")])
    def test_seed_subject_and_name_all_count(self, other):
        assert random_stream(*other).random() != random_stream(0, 17, "a").random()


def test_voxel_centres_span_the_field_of_view():
    x, y = voxel_grid((4, 2))
    assert x.ravel().tolist() == [-0.75, -0.25, 0.25, 0.75] and y.ravel().tolist() == [-0.5, 0.5]
    assert (x + y).shape == (4, 2)


class TestSmoothField:
    def test_has_unit_standard_deviation_and_the_size_asked_for(self):
        field = smooth_field(np.random.default_rng(0), (5, 4, 3), (12, 10, 8))
        assert field.shape == (12, 10, 8) and field.dtype == np.float32 and field.std() == pytest.approx(1, abs=1e-5)

    def test_interpolates_linearly_between_its_points(self):
        class Ramp:
            def standard_normal(self, points, dtype):
                return np.arange(np.prod(points), dtype=dtype).reshape(points)

        x, y = voxel_grid((8, 6))
        plane = 2.5 + 2 * x + y / 2  # the 3 x 2 points hold 0..5: two more per step of 1 along x, one per 2 along y
        assert np.allclose(smooth_field(Ramp(), (3, 2), (8, 6)), plane / plane.std(), atol=1e-5)

    def test_looks_the_same_at_every_resolution(self):
        coarse = smooth_field(np.random.default_rng(1), (4, 4, 4), (12, 12, 12))
        fine = smooth_field(np.random.default_rng(1), (4, 4, 4), (36, 36, 36))
        assert np.corrcoef(coarse.ravel(), fine[1::3, 1::3, 1::3].ravel())[0, 1] > 0.999


def test_ellipsoid_is_one_on_its_surface():
    at = [np.array([[0.1]]), np.array([[0.2, 0.6]])]
    assert np.allclose(ellipsoid(at, (0.1, 0.2), (0.3, 0.4)), [[0, 1]])


def test_a_tube_has_round_ends():
    x = np.array([0.0, 0.49, 0.59, 0.61]).reshape(4, 1)
    y = np.array([0.0, 0.09, 0.11]).reshape(1, 3)
    mask = tube([x, y], (0, 0), np.array([1.0, 0.0]), half_length=0.5, radius=0.1)
    assert mask.tolist() == [[True, True, False], [True, True, False], [True, False, False], [False, False, False]]


def test_directions_are_unit_vectors():
    assert np.linalg.norm(random_direction(np.random.default_rng(0))) == pytest.approx(1)


def test_blur_of_a_point_is_the_binomial_kernel():
    point = np.zeros((5, 5))
    point[2, 2] = 16
    assert binomial_blur(point)[1:4, 1:4].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
