"""A small bundle with random weights, and scans for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from passion_components.backbones.rfnet import RFNet
from passion_components.cli import app
from passion_components.datasets import TCGA_LGG
from passion_components.engines.weights_input import describe_input
from passion_components.files import sha256_of

SIZE = (20, 18, 3)
DICE = {"t1": 0.41, "flair": 0.78, "t1ce": 0.44, "t1+flair": 0.83, "t1+t1ce": 0.5, "flair+t1ce": 0.82}


@pytest.fixture(autouse=True)
def passion_home(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PASSION_HOME", str(tmp_path / "home"))
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def write_network(models: Path, network: RFNet) -> None:
    """Weights in both formats, and the JSON that tells what they must be fed with."""
    models.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    state = {name: torch.randn_like(value) for name, value in network.state_dict().items()}
    torch.save(state, models / "model.pt")
    save_file(state, models / "model.safetensors")
    settings: dict[str, Any] = {"modalities": TCGA_LGG.modalities, "spacing": [9.0, 9.0], "roi_size": [16, 16]}
    about = {
        "sha256": sha256_of(models / "model.pt"),
        "sha256_safetensors": sha256_of(models / "model.safetensors"),
        "trained_on": {"input": describe_input(spec=TCGA_LGG, network=network, label_scheme=None, **settings)},
    }
    (models / "model.json").write_text(json.dumps(about))


@pytest.fixture
def network() -> RFNet:
    return RFNet(n_modalities=3, n_classes=2, spatial_dims=2, width=4)


@pytest.fixture
def bundle(tmp_path, network) -> Path:
    """Folder of the bundle, with scores of its weights."""
    folder = tmp_path / "small"
    write_network(folder / "models", network)
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "3.2.1", "name": "small"}))
    (folder / "configs" / "inference.json").write_text(json.dumps({"sw_batch_size": 2}))
    scores = {
        "dataset": "tcga_lgg",
        "subsets": {name: {"n": 17, "dice": {"lesion": dice}} for name, dice in DICE.items()},
        "run": {"weights": {"sha256": sha256_of(folder / "models" / "model.pt")}},
    }
    (folder / "models" / "evaluation.json").write_text(json.dumps(scores))
    return folder


@pytest.fixture
def write_scan() -> Callable[..., nib.Nifti1Image]:
    """Write a scan of noise in a box, the same for the same seed."""

    def write(path: Path, seed: int) -> nib.Nifti1Image:
        values = np.zeros(SIZE, np.int16)
        values[3:-3, 3:-3] = np.random.default_rng(seed).integers(100, 900, (14, 12, 3))
        image = nib.Nifti1Image(values, np.diag([-9.0, -9.0, 5.0, 1.0]))
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)
        return image

    return write


@pytest.fixture
def scans(tmp_path, write_scan) -> Path:
    """Three cases: P0 of all sequences, P1 of T1 and FLAIR, P2 of T1."""
    folder = tmp_path / "scans"
    for number, names in enumerate((("t1", "flair", "t1ce"), ("t1", "flair"), ("t1",))):
        for index, name in enumerate(names):
            write_scan(folder / f"P{number}" / f"P{number}_{name}.nii.gz", seed=10 * number + index)
    return folder


@pytest.fixture
def passion(bundle, tmp_path) -> Callable[..., Result]:
    """Call ``passion predict`` with the bundle, into ``tmp_path/out``."""

    def call(*words: object, of: Path = bundle) -> Result:
        command = ["predict", *words, "--bundle", of, "--out", tmp_path / "out"]
        return CliRunner().invoke(app, [str(word) for word in command])

    return call
