import numpy as np
import pytest
import torch

from passion_components.transforms.foreground import BACKGROUND_LEVELS, foreground_rule


def test_everything_but_zero_is_foreground_negative_values_included():
    image = np.array([[0.0, -3.0, 2.0], [1.0, 0.0, -0.0]])
    assert foreground_rule("nonzero")(image).tolist() == [[False, True, True], [True, False, False]]


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown foreground rule 'otsu'; accepted: nonzero, above_background"):
        foreground_rule("otsu")


class TestAboveBackground:
    @pytest.fixture
    def head(self) -> np.ndarray:
        """Noise of 78 to 82 around a bright block with a dark hole."""
        volume = 80 + np.random.default_rng(0).integers(-2, 3, (1, 32, 32, 6)).astype(np.float32)
        volume[:, 8:24, 8:24, 1:5] = 200
        volume[:, 12:16, 12:16, 2:4] = 20
        return volume

    def test_finds_what_is_brighter_or_darker_than_the_noise_around_it(self, head):
        expected = np.zeros(head.shape, dtype=bool)
        expected[:, 8:24, 8:24, 1:5] = True
        assert np.array_equal(foreground_rule("above_background")(head), expected)

    @pytest.mark.parametrize(("a", "b"), [(0.01, 0.0), (30.0, -700.0), (-1.0, 255.0)])
    def test_scale_and_offset_change_nothing(self, head, a, b):
        rule = foreground_rule("above_background")
        assert np.array_equal(rule(a * head + b), rule(head))

    def test_each_channel_by_itself(self, head):
        rule = foreground_rule("above_background")
        both = np.concatenate([head, 1000 * head[:, ::-1]])
        assert np.array_equal(rule(both), np.concatenate([rule(head), rule(head[:, ::-1])]))

    def test_a_constant_sequence_has_none(self):
        assert not foreground_rule("above_background")(np.full((1, 8, 8, 3), 7.0)).any()

    def test_one_slice_of_a_slice_rule(self, head):
        rule = foreground_rule("above_background")
        assert np.array_equal(rule(head[..., 1:2]), rule(head[..., 1])[..., None])

    def test_the_background_is_the_lower_median_of_the_corners(self):
        channel = np.full((8, 8, 8), 50.0)
        for corner, value in zip(np.ndindex(2, 2, 2), (1, 2, 3, 4, 5, 6, 7, 8), strict=True):
            channel[tuple(-index for index in corner)] = value
        assert BACKGROUND_LEVELS["above_background"](channel) == 4


@pytest.mark.parametrize("name", ["nonzero", "above_background"])
def test_a_tensor_is_taken_as_an_array_is(name):
    image = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0)).relu()
    assert np.array_equal(foreground_rule(name)(image), foreground_rule(name)(image.numpy()))
