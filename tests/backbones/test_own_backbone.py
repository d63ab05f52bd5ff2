"""A backbone that decodes sample by sample gives the same through shared rows as sample by sample."""

import itertools

import pytest
import torch

from passion_components.backbones.base import Backbone, MultiPath, PathOutput

PRESENCE = torch.tensor([[True, False, True], [False, True, True], [False, True, False]])


class WeightedSum(Backbone):
    """Sums its modalities, each scaled by a number of its own; two levels, a voxel by itself."""

    def __init__(self, *, n_modalities: int) -> None:
        super().__init__(n_modalities=n_modalities, n_classes=1, spatial_dims=2, size_divisor=2, min_size=2)

    def encode_modality(self, index, image):
        return image + 100 * index, image[..., ::2, ::2]

    def decode_sample(self, levels, modalities):
        scale = (10.0**modalities)[:, None, None, None]
        fine, coarse = ((scale * level).sum(0, keepdim=True) for level in levels)
        return PathOutput(fine, [(coarse, 2)], -fine)


@pytest.fixture
def image():
    return torch.arange(3 * 3 * 4 * 2, dtype=torch.float64).view(3, 3, 4, 2)


def expected(image, subset):
    """Logits (4, 2) of one sample (3, 4, 2) by hand."""
    return sum(10.0**m * (image[m] + 100 * m) for m in range(3) if subset[m])


def test_every_sample_is_decoded_from_its_own_modalities(image):
    output = WeightedSum(n_modalities=3).decode(WeightedSum(n_modalities=3).encode(image, PRESENCE), PRESENCE)
    for sample, subset in enumerate(PRESENCE):
        assert torch.equal(output.logits[sample, 0], expected(image[sample], subset))
    assert torch.equal(output.embedding, -output.logits)
    assert output.deep[0][0].shape == (3, 1, 2, 1) and output.deep[0][1] == 2


def test_all_subsets_come_from_one_encoding(image):
    network, subsets = WeightedSum(n_modalities=3), torch.tensor(list(itertools.product([0, 1], repeat=3))[1:]).bool()
    features = network.encode(image[:1], torch.ones(1, 3, dtype=torch.bool))
    logits = network.decode(features.select(torch.zeros(7, dtype=torch.long)), subsets).logits
    assert all(torch.equal(got[0], expected(image[0], subset)) for got, subset in zip(logits, subsets, strict=True))


def test_the_unimodal_paths_see_one_modality_each(image):
    output = MultiPath(WeightedSum(n_modalities=3))(image, PRESENCE)
    assert len(output.unimodal.logits) == 5
    for row, (sample, modality) in enumerate(zip(output.sample_index, output.modality_index, strict=True)):
        alone = torch.arange(3) == modality
        assert torch.equal(output.unimodal.logits[row, 0], expected(image[sample], alone))


def test_a_network_without_a_decoder_says_what_is_missing(image):
    class Encoder(WeightedSum):
        decode_sample = Backbone.decode_sample

    with pytest.raises(NotImplementedError, match="Encoder implements neither decode_sample nor decode_rows"):
        Encoder(n_modalities=3)(image)
