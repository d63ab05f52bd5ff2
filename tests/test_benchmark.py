import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from benchmarks.operations import count_operations
from benchmarks.steps import Shape, Training, mixed


@pytest.mark.parametrize("objective", ["baseline", "passion"])
def test_the_published_arrangement_does_the_same_work(objective):
    """Otherwise the ratio that the benchmark tells compares different losses."""
    presence = torch.tensor([[True, False, True], [False, True, False]])
    shape = Shape(edge=32, dims=2, modalities=3, classes=2, batch=2)
    losses = []
    for naive in (False, True):
        training = Training("rfnet", objective, shape, torch.device("cpu"), naive=naive, amp=False)
        training.network.double()
        training.image = training.image.double()
        losses.append(training.loss(presence))
    torch.testing.assert_close(*losses, rtol=0, atol=1e-10)


def test_a_mix_weighs_every_number_present_by_how_often_it_occurs():
    assert mixed({1: 1.0, 2: 2.0}, rates=(0.5, 0.5)) == pytest.approx((1 + 1 + 2) / 3)
    assert mixed({1: 1.0}, rates=(0.5, 0.5)) is None


def test_two_samples_take_twice_the_operations_of_one():
    shapes = [Shape(edge=32, dims=2, modalities=3, classes=2, batch=batch) for batch in (1, 2)]
    one, two = (count_operations("rfnet", "released", shape, counts=[2])[0]["tera_operations"] for shape in shapes)
    assert two == pytest.approx(2 * one) and one > 0
