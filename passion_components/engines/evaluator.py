"""Evaluation engine: a case's predictions from one subset of its modalities or from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from functools import partial
from typing import Any, cast

import ignite.distributed as idist
import torch
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from passion_components.engines.precision import AutocastInferer
from passion_components.presence import subset_table, subsets_within


class SubsetEvaluator(SupervisedEvaluator):
    """MONAI's supervised evaluator for batches of one case, predicted from subsets of what the case has.

    ``engine.state.output["pred"]`` is (1, n, K, *S): probabilities from n subsets, whose presence (1, n, M) is
    ``engine.state.batch["subsets"]``; ``engine.state.modalities`` names the columns of presence. Under distributed
    training only rank 0 evaluates.

    Args:
        device: where the network runs.
        val_data_loader: gives batches of one case with ``image`` (1, M, *S) and ``presence`` (1, M).
        network: a Backbone.
        inferer: called with (image, network, presence=, subsets=), as ModalityAwareInferer is.
        modalities: names of the image's channels, in order: all modalities of the data set or some, in any order.
        all_subsets: predict from every subset that the case has; False: from all it has, together.
        subsets: names (``t1+t2``) of the only subsets that count as all; by default every one.
        amp: bfloat16 autocast for the network.
        kwargs: further arguments of ``monai.engines.SupervisedEvaluator``.
    """

    interrupt_resume_enabled = False
    """Ignite's engines would take the run after one that failed for the rest of that one, and skip the next case."""

    def __init__(
        self,
        *,
        device: torch.device | str,
        val_data_loader: DataLoader,
        network: nn.Module,
        inferer: Inferer,
        modalities: Sequence[str],
        all_subsets: bool,
        subsets: Sequence[str] | None = None,
        amp: bool = False,
        **kwargs: Any,
    ) -> None:
        self.table = subset_table(modalities, subsets) if all_subsets else None
        device = torch.device(device)
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            network=network,
            inferer=AutocastInferer(inferer, device=device, enabled=amp),
            prepare_batch=partial(prepare_subsets, table=self.table),
            **kwargs,
        )
        self.state.modalities = tuple(modalities)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Evaluate all cases; ``global_epoch`` is the epoch of the training that asks for it."""
        if idist.get_rank() == 0:
            self.state.epoch_length = len(cast(Sized, self.data_loader))
            super().run(global_epoch)

    def run_case(self, batch: Mapping[str, Any]) -> None:
        """Evaluate one collated case, whatever the data loader holds."""
        self.data_loader = [batch]
        self.run()

    def _iteration(self, engine: SupervisedEvaluator, batchdata: dict[str, Any]) -> Any:
        """One case; one that has none of the wanted subsets leaves neither batch nor output."""
        presence = batchdata["presence"]
        if len(presence) != 1:
            raise ValueError(f"subsets are evaluated case by case, expected a batch of 1, got {len(presence)}")
        if self.table is not None and len(subsets_within(self.table, presence)) == 0:
            engine.state.batch = []
            return []
        return super()._iteration(engine, batchdata)


def prepare_subsets(
    batch: dict[str, Any], device: torch.device, non_blocking: bool = False, *, table: Tensor | None, **_: Any
) -> tuple[Tensor, Tensor | None, tuple, dict[str, Tensor]]:
    """Image on the device, and the subsets that this case has: rows of ``table`` (n, M), or its own presence."""
    presence = batch["presence"]
    subsets = presence if table is None else subsets_within(table, presence)
    batch["subsets"] = subsets[None]
    image = batch["image"].to(device, non_blocking=non_blocking)
    return image, batch.get("reference"), (), {"presence": presence, "subsets": subsets}
