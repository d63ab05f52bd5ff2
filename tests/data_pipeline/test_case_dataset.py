import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.transforms import Compose, RandShiftIntensityd

from passion_components.data.dataset import CaseDataset


@pytest.fixture
def dataset():
    """Four cases whose preprocessing counts its calls; the augmentation shifts them at random."""

    def make(seed=0, cache=False, epoch=1) -> CaseDataset:
        calls = []

        def read(case):
            calls.append(case["case"])
            return {"case": case["case"], "image": torch.full((1, 2, 2), float(case["case"]))}

        shift = Compose([RandShiftIntensityd("image", offsets=1.0, prob=1.0)])
        cases = [{"case": str(number)} for number in range(4)]
        made = CaseDataset(cases, read, shift, seed=seed, cache=cache)
        made.calls = calls
        made.set_epoch(epoch)
        return made

    return make


def values(dataset, order=range(4)) -> dict[int, float]:
    return {index: float(dataset[index]["image"][0, 0, 0]) for index in order}


class TestDraws:
    def test_are_a_function_of_seed_epoch_and_index(self, dataset):
        assert values(dataset()) == values(dataset(), order=[3, 1, 0, 2])
        assert values(dataset(epoch=5)) == values(dataset(epoch=5))
        shifts = [
            value - index
            for made in (dataset(), dataset(epoch=2), dataset(seed=1))
            for index, value in values(made).items()
        ]
        assert len(set(np.round(shifts, 6))) == 12

    def test_do_not_depend_on_what_was_drawn_before(self, dataset):
        made = dataset()
        first = values(made)
        np.random.rand(5)
        made.set_epoch(2)
        values(made)
        made.set_epoch(1)
        assert values(made) == first

    def test_are_the_same_in_a_loader_process(self, dataset):
        loaded = [float(batch["image"][0, 0, 0, 0]) for batch in DataLoader(dataset(), num_workers=1)]
        assert loaded == list(values(dataset()).values())


class TestCache:
    def test_changes_nothing_but_the_number_of_readings(self, dataset):
        cached, plain = dataset(cache=True), dataset()
        cached.fill_cache()
        cached.fill_cache()
        for epoch in (1, 2):
            cached.set_epoch(epoch)
            plain.set_epoch(epoch)
            assert values(cached) == values(plain)
        assert len(cached.calls) == 4 and len(plain.calls) == 8

    def test_is_not_filled_unless_asked_for(self, dataset):
        made = dataset()
        made.fill_cache()
        assert made.calls == []


def test_without_augmentation_items_are_as_read(dataset):
    made = CaseDataset([{"case": "7"}], lambda case: case | {"read": True})
    assert made[0] == {"case": "7", "read": True} and len(made) == 1
