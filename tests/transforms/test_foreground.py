import pytest
import torch

from passion_components.transforms.foreground import foreground_rule


def test_everything_but_zero_is_foreground_negative_values_included():
    image = torch.tensor([[0.0, -3.0, 2.0], [1.0, 0.0, -0.0]])
    assert foreground_rule("nonzero")(image).tolist() == [[False, True, True], [True, False, False]]


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown foreground rule 'otsu'; accepted: nonzero, above_background"):
        foreground_rule("otsu")


class TestAboveBackground:
    @pytest.fixture
    def head(self) -> torch.Tensor:
        """Noise of 78 to 82 around a bright block with a dark hole."""
        volume = torch.full((1, 32, 32, 6), 80.0)
        volume += torch.randint(-2, 3, volume.shape, generator=torch.Generator().manual_seed(0))
        volume[:, 8:24, 8:24, 1:5] = 200
        volume[:, 12:16, 12:16, 2:4] = 20
        return volume

    def test_finds_what_is_brighter_or_darker_than_the_noise_around_it(self, head):
        expected = torch.zeros_like(head, dtype=torch.bool)
        expected[:, 8:24, 8:24, 1:5] = True
        assert torch.equal(foreground_rule("above_background")(head), expected)

    @pytest.mark.parametrize(("a", "b"), [(0.01, 0.0), (30.0, -700.0), (-1.0, 255.0)])
    def test_scale_and_offset_change_nothing(self, head, a, b):
        rule = foreground_rule("above_background")
        assert torch.equal(rule(a * head + b), rule(head))

    def test_each_channel_by_itself(self, head):
        rule = foreground_rule("above_background")
        both = torch.cat([head, 1000 * head.flip(1)])
        assert torch.equal(rule(both), torch.cat([rule(head), rule(head.flip(1))]))

    def test_a_constant_sequence_has_none(self):
        assert not foreground_rule("above_background")(torch.full((1, 8, 8, 3), 7.0)).any()

    def test_one_slice_of_a_slice_rule(self, head):
        rule = foreground_rule("above_background")
        assert torch.equal(rule(head[..., 1:2]), rule(head[..., 1])[..., None])
