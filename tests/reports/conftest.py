"""Folders as training and evaluating leave them, tiny."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from passion_components.metrics import ScoreBook
from passion_components.modalities import all_subsets

MODALITIES = ("t1", "flair", "t1ce")
DESCRIPTION = {
    "dataset": "tcga_lgg",
    "network": "RFNet, 657,706 parameters",
    "objective": "BaselineObjective( (segmentation_loss): SegmentationLoss(class_weights=None) )",
    "datalist": "missing.json",
    "datalist_hash": "ab" * 32,
    "training_cases": 5,
    "missing_rates": {"flair": 0.8, "t1": 0.2, "t1ce": 0.5},
    "seed": 0,
}


def write_training(folder: Path, *, sha256: str = "11" * 32, **description) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = {"sha256": sha256, "epoch": 3, "trained_on": DESCRIPTION | description}
    (folder / "model_last.json").write_text(json.dumps(record))
    history = [f"{epoch},{name},{1 / epoch}" for epoch in (1, 2, 3) for name in ("loss", "segmentation", "seconds")]
    (folder / "history.csv").write_text("\n".join(["epoch,name,value", *history]) + "\n")
    preference = [f"{epoch},{name},{0.1 * epoch},1.5,20" for epoch in (1, 2, 3) for name in MODALITIES]
    (folder / "preference.csv").write_text("\n".join(["epoch,modality,rp,beta,samples", *preference]) + "\n")


def write_scores(
    folder: Path,
    dice: Mapping[str, float],
    *,
    subsets=None,
    regions=("lesion",),
    dataset="tcga_lgg",
    modalities=MODALITIES,
    policy="brats",
    **run,
) -> None:
    """Every case scores its Dice from all modalities and a tenth less for each one that it lacks; HD95 is 10 Dice."""
    book = ScoreBook(dataset=dataset, modalities=modalities, policy=policy)
    for case, value in dice.items():
        for subset in subsets or all_subsets(modalities):
            score = value - 0.1 * (len(modalities) - len(subset))
            book.add(case, subset, {region: {"dice": score, "hd95": 10 * score} for region in regions})
    about = {"weights": {"path": str(folder / "model_last.pt"), "sha256": "11" * 32, "trained_on": "unknown"}} | run
    book.write_csv(folder / "metrics.csv")
    book.write_json(folder / "summary.json", about)


@pytest.fixture
def make_run(tmp_path) -> Callable[..., Path]:
    """A folder with training and scores: ``make_run(name, {case: Dice}, seed=1)``."""

    def make(name: str, dice: Mapping[str, float], **description) -> Path:
        folder = tmp_path / name
        sha256 = hashlib.sha256(name.encode()).hexdigest()
        write_training(folder, **{"sha256": sha256} | description)
        write_scores(folder, dice, weights={"path": str(folder / "model_last.pt"), "sha256": sha256})
        return folder

    return make


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return str(path)


@pytest.fixture
def pictured(tmp_path) -> Path:
    """A run of two cases, a with Dice 0.5 and b with 0.9, with images and kept predictions."""
    return write_pictured(tmp_path)


def write_pictured(tmp_path: Path) -> Path:
    folder, affine, cases = tmp_path / "run", np.diag([1.0, 1.0, 3.0, 1.0]), []
    image = np.arange(12 * 10 * 4, dtype=np.float32).reshape(12, 10, 4) + 1
    truth = np.zeros((12, 10, 4), np.uint8)
    truth[3:6, 2:7, 2] = 1
    for case in ("a", "b"):
        files = {name: write_nifti(tmp_path / "data" / case / f"{name}.nii.gz", image, affine) for name in MODALITIES}
        cases.append({"case": case, **files})
        cases[-1]["label"] = write_nifti(tmp_path / "data" / case / "label.nii.gz", truth, affine)
        for subset in ("t1+flair+t1ce", "t1", "flair", "t1ce"):
            write_nifti(folder / "predictions" / case / f"{case}_{subset}_seg.nii.gz", truth, affine)
    datalist = tmp_path / "data" / "datalist.json"
    datalist.write_text(json.dumps({"test": cases}))
    write_training(folder)
    write_scores(folder, {"a": 0.5, "b": 0.9}, datalist=str(datalist), part="test")
    return folder
