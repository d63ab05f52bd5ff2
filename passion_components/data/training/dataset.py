"""Cases as a map-style dataset whose randomness is a function of seed, epoch and index alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from torch.utils.data import Dataset
from tqdm import tqdm

from passion_components.data.errors import CaseError, memory_wanted
from passion_components.data.training.cache import CaseCache


class CaseDataset(Dataset):
    """Preprocessed cases, augmented anew in every epoch.

    Before an item is augmented, the random transforms are seeded from (seed, epoch, index). So an item does not depend
    on the number of loader workers, on the rank that draws it, or on the epochs that this process has seen before.

    Args:
        cases: entries of a datalist.
        preprocessing: deterministic part, from a case's paths to tensors.
        augmentation: random part; None for none.
        seed: of all random draws.
        cache_dir: folder in which what ``preprocessing`` makes is kept, from :meth:`fill_cache` on; None for none.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        preprocessing: Callable[[dict], dict],
        augmentation: Compose | None = None,
        *,
        seed: int = 0,
        cache_dir: Path | str | None = None,
    ) -> None:
        self.cases = cases
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        # in shared memory, so that loader processes that outlive an epoch read the number of the next one
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.cache = None if cache_dir is None else CaseCache(cache_dir)
        self._filled = False

    @property
    def epoch(self) -> int:
        """The epoch that items are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that items are drawn for."""
        self._epoch.fill_(epoch)

    def clear_cache(self) -> None:
        """Remove what an earlier process has left in the folder, or this one at its end."""
        self._filled = False
        if self.cache is not None:
            self.cache.clear()

    def fill_cache(self, rank: int = 0, world_size: int = 1) -> None:
        """Preprocess the cases of one rank, every ``world_size``-th one, where a cache is wanted and not filled yet.

        Raises:
            UserError: the disk has not enough room.
            CaseError: as ``preprocessing``.
        """
        if self.cache is None or self._filled:
            return
        mine = range(rank, len(self.cases), world_size)
        for index in tqdm(mine, desc="reading cases", unit="case", leave=False, disable=None if rank == 0 else True):
            item = self._read(index)
            if index == 0:
                self.cache.check_room(item, len(self.cases))
            self.cache.put(index, item)
        self._filled = True

    def _read(self, index: int) -> dict:
        case = self.cases[index]
        try:
            return self.preprocessing(dict(case))
        except (MemoryError, RuntimeError, ValueError) as error:
            wanted = memory_wanted(error)
            if wanted is None:
                raise
            raise CaseError(
                f"{case['case']}: memory does not suffice to read and resample it{wanted}; check the sizes "
                "in the headers of its files, or take a coarser --spacing, fewer --num_workers or a machine with more"
            ) from error

    def leave_out(self, names: Collection[str]) -> None:
        """Forget the cases of these names, before a cache is filled; nothing of them is read from now on."""
        self.cases = [case for case in self.cases if case["case"] not in names]

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict:
        if self.cache is not None and self._filled:
            item = {"case": self.cases[index]["case"], **self.cache.get(index)}
        else:
            item = self._read(index)
        if self.augmentation is None:
            return item
        state = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)
        self.augmentation.set_random_state(seed=int(state[0]))
        return self.augmentation(item)
