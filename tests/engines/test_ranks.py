"""Two ranks that see different modalities are one process that sees the union of their batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("rank_worker.py")
RENDEZVOUS = ["--nproc_per_node=2", "--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0"]


def test_weights_and_beta_are_those_of_the_union_batch(tmp_path):
    for launcher in ([], ["-m", "torch.distributed.run", *RENDEZVOUS]):
        command = [sys.executable, *launcher, str(WORKER), str(tmp_path)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
    alone, *ranks = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", 0, 1))
    assert alone["beta"].unique().numel() == 3
    for rank in ranks:
        for name, value in alone.items():
            torch.testing.assert_close(rank[name], value, rtol=0, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.full
@pytest.mark.parametrize("group", ["group", "no group"])
def test_one_rank_alone_scores_and_writes(tmp_path, group):
    """With a process group and without: torchrun starts configs that set up none as well."""
    worker = WORKER.with_name("evaluation_rank_worker.py")
    command = [sys.executable, "-m", "torch.distributed.run", *RENDEZVOUS, str(worker), str(tmp_path), group]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in tmp_path.glob("*-by-*")) == ["scored-by-0", "table-by-0"]
    assert (tmp_path / "run" / "summary.json").exists()
