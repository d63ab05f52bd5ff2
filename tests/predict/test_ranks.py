"""Several processes that share the cases of a folder."""

import csv
import json
import os
import signal
import subprocess
import sys
from itertools import islice

import pytest


def launched(scans, bundle, out, *words):
    """``passion predict`` by two processes of torchrun."""
    module = ["-m", "passion_components", "predict", scans, "--bundle", bundle, "--out", out, "--device", "cpu"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", *module, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def cases_in(out):
    with open(out / "predictions.csv", newline="") as file:
        return [row["case"] for row in csv.DictReader(file)]


@pytest.mark.full
def test_a_killed_process_loses_its_case_and_the_same_command_does_the_rest(bundle, tmp_path, write_scan):
    scans, out = tmp_path / "many", tmp_path / "out"
    names = [f"C{number:03}" for number in range(200)]
    for seed, name in enumerate(names):
        write_scan(scans / name / f"{name}_t1.nii.gz", seed=seed)

    def done():
        return {path.parent.name: path.read_bytes() for path in out.glob("*/predictions.json")}

    process = launched(scans, bundle, out)
    written = (line for line in process.stdout if "_seg.nii.gz" in line)
    assert len(list(islice(written, 20))) == 20
    rank = next(int(lock.read_text()) for lock in out.glob(".inference_2_of_2.lock"))
    os.kill(rank, signal.SIGKILL)
    process.communicate(timeout=120)
    before = done()
    assert process.returncode != 0 and 0 < len(before) < 200

    again = launched(scans, bundle, out)
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    assert cases_in(out) == names
    assert all(done()[case] == facts for case, facts in before.items())
    assert len({json.loads(facts)["scans"]["t1"]["sha256"] for facts in done().values()}) == 200
    assert not list(out.glob("failures*"))
    assert all((out / name / f"{name}_seg.nii.gz").is_file() for name in names)
