import pytest
import torch

from passion_components.transforms.foreground import foreground_rule


def test_everything_but_zero_is_foreground_negative_values_included():
    image = torch.tensor([[0.0, -3.0, 2.0], [1.0, 0.0, -0.0]])
    assert foreground_rule("nonzero")(image).tolist() == [[False, True, True], [True, False, False]]


def test_an_unknown_rule_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown foreground rule 'otsu'; accepted: nonzero"):
        foreground_rule("otsu")
