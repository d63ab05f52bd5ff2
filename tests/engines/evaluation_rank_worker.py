"""Evaluate one case in one of several processes; each process leaves a file if it scored the case."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from torch import nn

from passion_components.data.training.dataset import CaseDataset
from passion_components.datasets import BRATS2020
from passion_components.engines.runs import evaluate
from passion_components.metrics import CaseScores
from passion_components.metrics.record import EvaluationRecord

out = Path(sys.argv[1])
rank = os.environ["RANK"]
if sys.argv[2] == "group":
    dist.init_process_group("gloo")
network = nn.Linear(1, 1)
torch.save(network.state_dict(), out / f"{rank}.pt")
record = EvaluationRecord(output_dir=out / "run", spec=BRATS2020, settings={"policy": "nan"})


def score(batch: dict) -> None:
    (out / f"scored-by-{rank}").touch()
    record.add(*batch["case"], {"t1": CaseScores({"WT": {"dice": 0.5}}, {})})


evaluate(
    evaluator=SimpleNamespace(state=SimpleNamespace(), run_case=score, data_loader=[]),
    dataset=CaseDataset([{"case": "a"}], dict),
    record=record,
    network=network,
    ckpt=str(out / f"{rank}.pt"),
    output_dir=out / "run",
    bundle_root=out,
    write_table=(out / f"table-by-{rank}").touch,
)
if dist.is_initialized():
    dist.destroy_process_group()
