"""Randomness of an epoch from the seed and the epoch's number."""

from __future__ import annotations

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from passion_components.data.training.dataset import CaseDataset


class EpochSeedHandler:
    """Seed torch (dropout, loader workers) and the dataset's draws at the start of every epoch.

    What happens in epoch e is then a function of seed and e: a resumed run needs no generator's state.

    Args:
        seed: of the run.
        dataset: is told the epoch.
    """

    def __init__(self, *, seed: int, dataset: CaseDataset) -> None:
        self.seed = seed
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Listen to the start of epochs."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        self.dataset.set_epoch(epoch)
        state = np.random.SeedSequence([self.seed, epoch, idist.get_rank()]).generate_state(1)
        torch.manual_seed(int(state[0]))
