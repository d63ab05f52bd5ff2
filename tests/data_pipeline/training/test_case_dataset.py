from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Flip, RandShiftIntensityd

from passion_components.data.errors import UserError
from passion_components.data.training.cache import CaseCache
from passion_components.data.training.dataset import CaseDataset


@pytest.fixture
def dataset(tmp_path):
    """Four cases whose preprocessing counts its calls; the augmentation shifts them at random."""

    def make(seed=0, cache=None, epoch=1) -> CaseDataset:
        calls = []

        def read(case):
            calls.append(case["case"])
            return {"case": case["case"], "image": torch.full((1, 2, 2), float(case["case"]))}

        shift = Compose([RandShiftIntensityd("image", offsets=1.0, prob=1.0)])
        cases = [{"case": str(number)} for number in range(4)]
        made = CaseDataset(cases, read, shift, seed=seed, cache_dir=None if cache is None else tmp_path / cache)
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

    def test_follow_the_epoch_in_a_loader_process_that_outlives_it(self, dataset):
        made = dataset()
        loader = DataLoader(made, num_workers=1, persistent_workers=True)
        for epoch in (1, 2):
            made.set_epoch(epoch)
            loaded = [float(batch["image"][0, 0, 0, 0]) for batch in loader]
            assert loaded == list(values(dataset(epoch=epoch)).values())


class TestCache:
    def test_changes_nothing_but_the_number_of_readings(self, dataset):
        cached, plain = dataset(cache="c"), dataset()
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

    def test_ranks_share_the_work_and_find_what_the_others_have_read(self, dataset):
        ranks = [dataset(cache="c"), dataset(cache="c")]
        for rank, made in enumerate(ranks):
            made.fill_cache(rank, world_size=2)
        assert [made.calls for made in ranks] == [["0", "2"], ["1", "3"]]
        assert values(ranks[0]) == values(ranks[1]) == values(dataset())
        assert ranks[0][1]["case"] == "1"

    def test_what_is_changed_in_place_is_not_changed_for_the_next(self, dataset):
        made = dataset(cache="c")
        made.augmentation = None
        made.fill_cache()
        other = CaseCache(made.cache.folder)
        made[0]["image"].fill_(7)
        assert float(other.get(0)["image"].max()) == 0

    def test_is_gone_when_cleared(self, dataset, tmp_path):
        made = dataset(cache="c")
        made.fill_cache()
        made.clear_cache()
        assert not (tmp_path / "c").exists()
        values(made)
        assert len(made.calls) == 8

    def test_keeps_geometry_and_operations_that_a_prediction_needs(self, tmp_path):
        flip = Flip(0)
        image = flip(MetaTensor(torch.arange(6.0).reshape(1, 2, 3), affine=torch.diag(torch.tensor([2.0, 3, 1, 1]))))
        made = CaseDataset([{"case": "P"}], lambda case: case | {"image": image}, cache_dir=tmp_path / "c")
        made.fill_cache()
        cached = made[0]["image"]
        assert torch.equal(cached.as_tensor(), image.as_tensor()) and torch.equal(cached.affine, image.affine)
        assert torch.equal(flip.inverse(cached).as_tensor(), torch.arange(6.0).reshape(1, 2, 3))

    def test_says_what_it_takes_and_refuses_what_the_disk_cannot_hold(self, tmp_path, caplog, monkeypatch):
        item = {"case": "P", "image": torch.zeros(2**18), "target": torch.zeros(2**18, dtype=torch.uint8)}
        with caplog.at_level("INFO"):
            CaseCache(tmp_path).check_room(item, count=1024)
        assert "caching 1024 cases takes about 1.25 GiB" in caplog.text
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**30))
        with pytest.raises(UserError, match="takes about 1.2 GiB, the disk has 1.0 GiB free; make room"):
            CaseCache(tmp_path).check_room(item, count=1024)


def test_without_augmentation_items_are_as_read(dataset):
    made = CaseDataset([{"case": "7"}], lambda case: case | {"read": True})
    assert made[0] == {"case": "7", "read": True} and len(made) == 1
