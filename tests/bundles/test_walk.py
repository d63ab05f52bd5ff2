"""The commands of docs/extending.md, as they stand there: from a folder of scans to segmentations."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from passion_components.datasets import dataset_spec

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "extending.md"
SEQUENCES = ("dwi", "adc", "flair", "t1", "t2")
SMALL = "--network_width 4 --num_workers 0"
"""Added to every run of a bundle, with one epoch of training."""


def write_scans(folder: Path, *, lengths: tuple[float, float, float], size: tuple[int, int, int]) -> None:
    """Ten patients with five sequences and a lesion, tissue on 0; the fourth lacks adc."""
    rng = np.random.default_rng(0)
    for number in range(1, 11):
        label = np.zeros(size, np.uint8)
        label[6:14, number : number + 8, 1 : size[2] - 1] = 1
        label[8:12, number + 2 : number + 6, 2 : size[2] - 2] = 2
        tissue = np.zeros(size, bool)
        tissue[2:-2, 2:-2] = True
        for index, name in enumerate((*SEQUENCES, "msk")):
            if (number, name) != (4, "adc"):
                values = label if name == "msk" else tissue * (5 + index * label + rng.uniform(0, 1, size))
                path = folder / f"P{number}/P{number}_{name}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                image = nib.Nifti1Image(
                    values.astype(np.uint8 if name == "msk" else np.float32), np.diag([*lengths, 1])
                )
                nib.save(image, path)


def commands(work: Path) -> str:
    """The first commands of the document, in a folder of our own, with small networks."""
    (text, *_) = re.findall(r"```bash\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    text = re.sub(r"W=\S+.*", f"W='{work}'", text)
    text = text.replace("--config_file", f"{SMALL} --config_file").replace("run training", "run training --epochs 1")
    passion = f"passion() {{ {sys.executable} -c 'from passion_components.cli import main; main()' \"$@\"; }}\n"
    return passion + text.replace("python -m monai", f"{sys.executable} -m monai")


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("dims", "lengths", "size"), [(3, (-1.0, -1.0, 1.0), (24, 24, 20)), (2, (-1.0, -1.0, 5.0), (24, 24, 6))]
)
def test_the_walk_leads_from_a_folder_to_segmentations(tmp_path, dims, lengths, size):
    write_scans(tmp_path / "scans", lengths=lengths, size=size)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    spec = dataset_spec(tmp_path / "stroke.json")
    assert spec.spatial_dims == dims and set(spec.modalities) == set(SEQUENCES) and len(spec.classes) == 3
    assert (tmp_path / "run" / "metrics.csv").is_file()
    assert "<img" in (tmp_path / "report.html").read_text(encoding="utf-8")
    written = list((tmp_path / "segmented").glob("*/*_seg.nii.gz"))
    assert len(written) == 10
    assert {nib.load(path).shape for path in written} == {size}
