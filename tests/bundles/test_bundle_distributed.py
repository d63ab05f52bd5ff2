"""Two gloo processes on one machine are one training."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("distributed_worker.py")


@pytest.fixture
def train(phantoms, bundle, tmp_path):
    """Train in two processes, or in this many; returns what each wrote."""

    def start(processes: int, *overlays: str, **overrides) -> list[dict]:
        overlays = ("train", *overlays, *(["multi_gpu_train"] if processes > 1 else []))
        out = tmp_path / f"{processes}"
        settings = {
            "run_id": "training",
            "config_file": [str(bundle / "configs" / f"{name}.json") for name in overlays],
            "meta_file": str(bundle / "configs" / "metadata.json"),
            "bundle_root": str(tmp_path),
            "dataset_dir": str(phantoms),
            "datalist": str(phantoms / "missing.json"),
            "output_dir": str(out),
            "roi_size": [16, 16, 16],
            "network_width": 4,
            "num_workers": 0,
            "val_interval": 1,
            "epochs": 1,
        } | overrides
        launcher = [sys.executable]
        if processes > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            launcher += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
            launcher += ["--master_addr=127.0.0.1", f"--master_port={port}"]
        done = subprocess.run(
            [*launcher, str(WORKER), json.dumps(settings)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return [json.loads(path.read_text()) for path in sorted(out.glob("rank*.json"))]

    return start


def test_beta_is_that_of_one_process_on_every_rank(train, tmp_path):
    first, second = train(2, learning_rate=0.0)
    (alone,) = train(1, learning_rate=0.0)
    assert first["beta"] == second["beta"]
    assert first["beta"] == pytest.approx(alone["beta"], abs=1e-5)
    rows = [list(csv.DictReader((tmp_path / name / "preference.csv").open())) for name in "21"]
    for of_two, of_one in zip(*rows, strict=True):
        assert of_two["samples"] == of_one["samples"]
        assert float(of_two["rp"]) == pytest.approx(float(of_one["rp"]), abs=1e-5)
    assert any(abs(float(row["rp"])) > 1e-3 for row in rows[0])


def test_ranks_of_different_presence_keep_the_same_weights(train, own_phantoms, edit_datalist):
    """Three cases over two ranks: a remainder, and sequences that one rank alone has."""
    complete = json.loads((own_phantoms / "datalist.json").read_text())["training"]

    def only(case: dict, modality: str) -> dict:
        return {key: case[key] for key in ("case", "label", modality)}

    cases = [only(complete[0], "flair"), only(complete[1], "t1ce"), complete[2]]
    edit_datalist(own_phantoms / "missing.json", lambda parts: parts.update(training=cases))
    files = {"dataset_dir": str(own_phantoms), "datalist": str(own_phantoms / "missing.json")}
    first, second = train(2, learning_rate=0.003, epochs=2, **files)
    assert first == second


@pytest.mark.full
@pytest.mark.parametrize("objective", [(), ("baseline",), ("pmr",), ("released_code",)], ids="".join)
@pytest.mark.parametrize("sampling", [(), ("moddrop",), ("pdt",)], ids="".join)
def test_every_setting_keeps_ranks_equal(train, objective, sampling):
    first, second = train(2, *objective, *sampling, learning_rate=0.003)
    assert first == second
