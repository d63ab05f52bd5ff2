import logging

import pytest
import torch

from passion_components.transforms.skull import WarnUnlessExtractedd


@pytest.fixture
def brain():
    """(2, 20, 20, 20): a bright box on 0 in both channels."""
    image = torch.zeros(2, 20, 20, 20)
    image[:, 4:16, 4:16, 4:16] = 80 + torch.arange(12.0)
    return image


def warnings(image, caplog, presence=(True, True)):
    item = {"case": "P1", "image": image, "presence": torch.tensor(presence)}
    with caplog.at_level(logging.WARNING):
        WarnUnlessExtractedd(modalities=["t1", "t2"])(item)
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
