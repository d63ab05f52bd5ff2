import logging

import pytest
import torch

from passion_components.datasets import BRATS2020, TCGA_LGG
from passion_components.transforms.skull import WarnIfExtractedd, WarnIfNormalisedd, WarnUnlessExtractedd


@pytest.fixture
def brain():
    """(2, 20, 20, 20): a bright box on 0 in both channels."""
    image = torch.zeros(2, 20, 20, 20)
    image[:, 4:16, 4:16, 4:16] = 80 + torch.arange(12.0)
    return image


def warnings(image, caplog, presence=(True, True), transform=WarnUnlessExtractedd):
    item = {"case": "P1", "image": image, "presence": torch.tensor(presence)}
    with caplog.at_level(logging.WARNING):
        transform(modalities=["t1", "t2"])(item)
    return [record.getMessage() for record in caplog.records]


def test_an_extracted_brain_is_no_matter(brain, caplog):
    assert warnings(brain, caplog) == []


def test_air_and_bone_around_it_are_told_by_sequence(brain, caplog):
    brain[1, 2:18, 2:18, 2:18] = torch.where(brain[1, 2:18, 2:18, 2:18] == 0, 2.0, brain[1, 2:18, 2:18, 2:18])
    (message,) = warnings(brain, caplog)
    assert message.startswith("P1: t2 looks as if the skull was not removed")


def test_absent_sequences_are_not_looked_at(brain, caplog):
    brain[1, 2:18, 2:18, 2:18] += 2
    brain[1, 4:16, 4:16, 4:16] *= 0.01
    assert warnings(brain, caplog, presence=(True, False)) == []


@pytest.mark.parametrize("offset", [1024, -1024])
def test_a_background_that_is_not_0_is_told(brain, caplog, offset):
    brain[1] += offset
    (message,) = warnings(brain, caplog)
    assert message.startswith("P1: t2 has a background that is not 0, as around a skull or shifted; this network")


class TestNormalised:
    def test_scans_are_not_even_with_ripples_of_splines(self, brain, caplog):
        brain[1, 4, 4:16, 4:10] = -3
        assert warnings(brain, caplog, transform=WarnIfNormalisedd) == []

    def test_z_scores_and_shifted_values_are_told(self, brain, caplog):
        brain[1] = torch.where(brain[1] == 0, 0, brain[1] - 86)
        (message,) = warnings(brain, caplog, transform=WarnIfNormalisedd)
        assert message.startswith("P1: t2 looks normalised or shifted already (many voxels are negative)")

    def test_absent_ones_are_not(self, brain, caplog):
        brain[1] -= 86
        assert warnings(brain, caplog, presence=(True, False), transform=WarnIfNormalisedd) == []


def test_a_network_for_whole_heads_tells_of_extracted_brains(brain, caplog):
    brain[1] = torch.where(brain[1] == 0, 2.0, brain[1])
    item = {"case": "P1", "image": brain, "presence": torch.tensor((True, True))}
    WarnIfExtractedd(modalities=["t1", "t2"])(item)
    (record,) = caplog.records
    assert record.getMessage().startswith("P1: t1 looks as if the skull was removed; this network was made for")
    assert TCGA_LGG.skull == "expected" and BRATS2020.skull == "unexpected"
