"""The moving average of a network, and what it decodes for those who learn from it."""

from dataclasses import replace

import pytest
import torch

from passion_components.backbones.base import MultiPath
from passion_components.backbones.rfnet import RFNet
from passion_components.inferers import AveragedTeacherInferer
from passion_components.objectives import PassionObjective
from passion_components.preference import RelativePreference

PRESENCE = torch.tensor([[True, True], [False, True]])


@pytest.fixture
def network():
    return RFNet(n_modalities=2, n_classes=2, spatial_dims=2, width=4).double()


@pytest.fixture
def image():
    return torch.randn(2, 2, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_average_follows_the_network_by_its_decay(network, image):
    inferer = AveragedTeacherInferer(network, decay=0.75)
    weight = next(network.parameters())
    for value, expected in ((4.0, 4.0), (8.0, 5.0), (0.0, 3.75)):
        with torch.no_grad():
            weight.fill_(value)
        inferer(image, MultiPath(network), presence=PRESENCE, fused_presence=PRESENCE)
        assert next(inferer.average.parameters()).unique().tolist() == [expected]


def test_it_decodes_what_the_fused_path_may_see(network, image):
    inferer, paths = AveragedTeacherInferer(network, decay=0.5), MultiPath(network)
    fewer = torch.tensor([[True, False], [False, True]])
    first = inferer(image, paths, presence=PRESENCE, fused_presence=fewer)
    assert torch.allclose(first.averaged.logits, first.fused.logits)
    assert first.teacher is first.averaged and not first.averaged.logits.requires_grad
    image[0, 1] = torch.nan
    again = inferer(image, paths, presence=PRESENCE, fused_presence=fewer)
    assert torch.equal(again.averaged.embedding, first.averaged.embedding)


def test_both_terms_and_relative_preference_are_of_the_average(network, image):
    target = (image[:, :1] > 0).long()
    objective = PassionObjective(
        preference=RelativePreference(modalities="ab", missing_rates={"a": 0.0, "b": 0.5}), delta=False
    )
    output = MultiPath(network)(image, PRESENCE)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
        other = MultiPath(network)(image, PRESENCE).fused
    taught = objective(replace(output, averaged=other), target, PRESENCE)
    swapped = objective(replace(output, fused=other), target, PRESENCE)
    alone = objective(output, target, PRESENCE)
    for term in ("pixel", "semantic", "distance"):
        assert torch.equal(taught[term], swapped[term]) and not torch.equal(taught[term], alone[term])
    assert torch.equal(taught["segmentation"], alone["segmentation"])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_that_is_none_is_refused(network, decay):
    with pytest.raises(ValueError, match="decay must be at least 0 and below 1"):
        AveragedTeacherInferer(network, decay=decay)
