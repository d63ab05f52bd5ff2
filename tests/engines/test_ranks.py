"""Two ranks that see different modalities are one process that sees the union of their batches."""

import os
import subprocess
import sys
from pathlib import Path

import torch

WORKER = Path(__file__).with_name("rank_worker.py")


def test_weights_and_beta_are_those_of_the_union_batch(tmp_path):
    rendezvous = ["--nproc_per_node=2", "--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0"]
    for launcher in ([], ["-m", "torch.distributed.run", *rendezvous]):
        command = [sys.executable, *launcher, str(WORKER), str(tmp_path)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
    alone, *ranks = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("alone", 0, 1))
    assert alone["beta"].unique().numel() == 3
    for rank in ranks:
        for name, value in alone.items():
            torch.testing.assert_close(rank[name], value, rtol=0, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")
