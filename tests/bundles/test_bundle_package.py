"""A packaged bundle runs where this repository is not."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from passion_components import __version__

ROOT = Path(__file__).resolve().parents[2]
NAME = "tcga_lgg_rfnet"
SETTINGS = {"roi_size": [16, 16], "spacing": [11.52, 11.52], "network_width": 4}


def package(out: Path) -> Path:
    script = [sys.executable, str(ROOT / "scripts" / "package_bundles.py"), NAME, "--out", str(out)]
    subprocess.run(script, check=True, capture_output=True)
    return out / f"{NAME}_v{__version__}.zip"


@pytest.fixture
def weights(random_weights_of) -> Path:
    return random_weights_of(NAME)


def test_is_the_same_bytes_twice_and_its_hash_is_told(tmp_path):
    first, second = package(tmp_path / "1"), package(tmp_path / "2")
    assert first.read_bytes() == second.read_bytes()
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert (tmp_path / "1" / "SHA256SUMS").read_text() == f"{digest}  {first.name}\n"
    names = zipfile.ZipFile(first).namelist()
    assert {name.split("/")[0] for name in names} == {NAME}
    assert f"{NAME}/LICENSE" in names and f"{NAME}/passion_components/__init__.py" in names
    assert not [name for name in names if "__pycache__" in name or "/output/" in name]


def test_downloaded_into_an_empty_folder_it_segments_as_in_the_repository(run, slice_phantoms, weights, tmp_path):
    archive = package(tmp_path / "dist")
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def python(*words, cwd):
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    download = ("--name", NAME, "--version", __version__, "--url", archive.as_uri(), "--bundle_dir", ".")
    python("-m", "monai.bundle", "download", *download, cwd=empty)
    where = python("-c", "import passion_components; print(passion_components.__file__)", cwd=empty / NAME)
    assert Path(where.strip()).is_relative_to(empty)

    options = [word for key, value in SETTINGS.items() for word in (f"--{key}", value)]
    options += ["--dataset_dir", slice_phantoms, "--ckpt", weights, "--output_dir", tmp_path / "there"]
    command = ("-m", "monai.bundle", "run", "inference", "--config_file", "configs/inference.json")
    python(*command, *options, cwd=empty / NAME)

    run("inference", "inference", of=NAME, ckpt=weights, output_dir=tmp_path / "here")
    segmented = sorted((tmp_path / "here").glob("*/*_seg.nii.gz"))
    assert len(segmented) == 8
    for file in segmented:
        there = tmp_path / "there" / file.relative_to(tmp_path / "here")
        np.testing.assert_array_equal(np.asarray(nib.load(there).dataobj), np.asarray(nib.load(file).dataobj))
    assert len({np.asarray(nib.load(file).dataobj).sum() for file in segmented}) > 1
