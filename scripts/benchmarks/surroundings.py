"""What happens around a step: programs that start, cases that are read."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STARTS = {
    "python": ["-c", ""],
    "import torch": ["-c", "import torch"],
    "passion --help": ["-m", "passion_components", "--help"],
    "imports of inference": ["-c", "import monai.bundle, passion_components.inferers.modality_aware"],
}


SIZE = "240,240,155"


def measure_starts(repeats: int) -> list[dict[str, Any]]:
    """CPU and wall seconds of a whole process, the least of all repeats after a first one that fills the disk cache."""
    rows = []
    for name, arguments in STARTS.items():
        seconds = [_child([sys.executable, *arguments]) for _ in range(repeats + 1)][1:]
        rows.append({"start": name, "cpu": min(cpu for cpu, _ in seconds), "wall": min(wall for _, wall in seconds)})
    return rows


def measure_loading(folder: Path, cases: int) -> list[dict[str, Any]]:
    """Seconds per case that the loader of the BraTS2020 bundle takes for phantoms: from files, then from its cache."""
    from monai.bundle import ConfigParser

    bundle = Path(__file__).parents[2] / "bundles" / "brats2020_rfnet"
    command = [sys.executable, "-m", "passion_components", "phantom", "brain", "--out", str(folder / "phantoms")]
    subprocess.run([*command, "--cases", str(cases), "--size", SIZE], check=True, capture_output=True)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    parser.update(
        {
            "output_dir": str(folder / "run"),
            "bundle_root": str(bundle),
            "dataset_dir": str(folder / "phantoms"),
            "cache": True,
        }
    )
    dataset = parser.get_parsed_content("train#dataset")
    rows = []
    for name, work in (
        ("files, into the cache", dataset.fill_cache),
        ("cache", lambda: [dataset[i] for i in range(len(dataset))]),
    ):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        rows.append({"read from": name, **{key: value / len(dataset) for key, value in seconds.items()}})
    return rows


def _child(command: list[str]) -> tuple[float, float]:
    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    cpu, wall = spent(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return spent() - cpu, time.perf_counter() - wall
