"""Cases as a map-style dataset whose randomness is a function of seed, epoch and index alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from monai.transforms import Compose
from torch.utils.data import Dataset
from tqdm import tqdm


class CaseDataset(Dataset):
    """Preprocessed cases, augmented anew in every epoch.

    Before an item is augmented, the random transforms are seeded from (seed, epoch, index). So an item does not depend
    on the number of loader workers, on the rank that draws it, or on the epochs that this process has seen before.

    Args:
        cases: entries of a datalist.
        preprocessing: deterministic part, from a case's paths to tensors.
        augmentation: random part; None for none.
        seed: of all random draws.
        cache: keep what ``preprocessing`` makes in memory, from :meth:`fill_cache` on.
    """

    def __init__(
        self,
        cases: Sequence[Mapping[str, Any]],
        preprocessing: Callable[[dict], dict],
        augmentation: Compose | None = None,
        *,
        seed: int = 0,
        cache: bool = False,
    ) -> None:
        self.cases = cases
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.cache = cache
        self.epoch = 0
        self._cached: list[dict] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Name the epoch that items are drawn for."""
        self.epoch = epoch

    def fill_cache(self) -> None:
        """Preprocess all cases once, where a cache is wanted and not filled yet."""
        if self.cache and self._cached is None:
            bar = tqdm(self.cases, desc="reading cases", unit="case", leave=False, disable=None)
            self._cached = [self.preprocessing(dict(case)) for case in bar]

    def leave_out(self, names: Collection[str]) -> None:
        """Forget the cases of these names; nothing of them is read from now on."""
        keep = [index for index, case in enumerate(self.cases) if case["case"] not in names]
        self.cases = [self.cases[index] for index in keep]
        if self._cached is not None:
            self._cached = [self._cached[index] for index in keep]

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict:
        cached = self._cached
        item = self.preprocessing(dict(self.cases[index])) if cached is None else dict(cached[index])
        if self.augmentation is None:
            return item
        state = np.random.SeedSequence([self.seed, self.epoch, index]).generate_state(1)
        self.augmentation.set_random_state(seed=int(state[0]))
        return self.augmentation(item)
