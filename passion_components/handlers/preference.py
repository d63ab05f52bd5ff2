"""Relative preference from training batches into beta, once an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from passion_components.handlers.epoch_table import EpochTable
from passion_components.handlers.reduction import summed_over_ranks
from passion_components.objectives.base import Objective
from passion_components.preference import RelativePreference, relative_preference


class PreferenceAwareHandler:
    """Collect RP_nm (Eq. 9-10) of every training sample and update beta (Eq. 12-13) at the end of the epoch.

    Sums and counts are reduced over all processes first, so that beta is the same on every rank. RP and beta go by
    modality name into ``engine.state.metrics`` (``rp/<name>``, ``beta/<name>``: what the loggers print) and into
    ``preference.csv``: epoch, modality, mean RP, beta after the update, samples that had the modality. RP is logged
    under every objective; beta moves only where the objective says so.

    Args:
        preference: the state that is updated.
        objective: tells by ``updates_preference`` whether beta moves in this epoch, and is told the epoch.
        output_dir: folder of ``preference.csv``.
    """

    def __init__(self, *, preference: RelativePreference, objective: Objective, output_dir: Path | str) -> None:
        self.preference = preference
        self.objective = objective
        self.table = EpochTable(Path(output_dir) / "preference.csv", ["epoch", "modality", "rp", "beta", "samples"])
        self._sums = torch.zeros(0)

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.trainer.MultiPathTrainer`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish_epoch)

    def start_epoch(self, engine: Engine) -> None:
        """Forget the last epoch's samples."""
        self.objective.set_epoch(engine.state.epoch)
        self._sums = torch.zeros(3, len(self.preference.modalities), dtype=torch.float64, device=engine.state.device)

    def collect(self, engine: Engine) -> None:
        """Add RP, distance and the number of samples of every modality in the batch, on the device."""
        paths, distance = engine.state.paths, engine.state.losses["distance"].double()
        rp = relative_preference(distance, paths.sample_index, len(paths.fused.logits))
        self._sums.index_add_(1, paths.modality_index, torch.stack([rp, torch.ones_like(rp), distance]))

    def finish_epoch(self, engine: Engine) -> None:
        """Update beta and log."""
        rp_sum, counts, distance_sum = summed_over_ranks(self._sums)
        if self.objective.updates_preference:
            mean = self.preference.update(rp_sum, counts, distance_sum)
        else:
            mean = self.preference.average(rp_sum, counts)
        rows = zip(mean.items(), self.preference.beta.tolist(), counts.long().tolist(), strict=True)
        for (name, rp), beta, samples in rows:
            engine.state.metrics[f"rp/{name}"] = rp
            engine.state.metrics[f"beta/{name}"] = beta
            self.table.add(engine.state.epoch, name, rp, beta, samples)
        if idist.get_rank() == 0:
            self.table.write()

    def state_dict(self) -> dict[str, Any]:
        """beta and the rows logged so far, as plain numbers, strings and lists."""
        return {"preference": self.preference.state_dict(), "table": self.table.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.preference.load_state_dict(state["preference"])
        self.table.load_state_dict(state["table"])
