"""Tiny phantoms and tiny runs of a bundle, in this process."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.missing_rates import simulate_missing
from passion_components.data.lists.prepare_lgg import prepare_lgg
from passion_components.data.phantoms.brain import write_brain_phantoms
from passion_components.data.phantoms.heart import write_heart_phantoms
from passion_components.data.phantoms.lgg import write_lgg_phantoms
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG
from passion_components.engines.failures import error_line

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
BUNDLE = BUNDLES / "brats2020_rfnet"
SIZES = {"roi_size": [16, 16, 16], "network_width": 4}
DATA = {
    "brats2020": ("phantoms", 3, {}),
    "brats2021": ("phantoms", 3, {"spacing": [1.0, 1.0, 1.0]}),
    "myops2020": ("heart_phantoms", 2, {"spacing": [12.0, 12.0]}),
    "tcga_lgg": ("slice_phantoms", 2, {"spacing": [11.52, 11.52], "batch_size": 2}),
}
"""Per data set the fixture with its phantoms, the dimensions of a crop, and settings."""
NETWORKS = {
    "rfnet": (16, {"network_width": 4}),
    "mmformer": (32, {"network_width": 2, "token_dim": 16, "mlp_dim": 32}),
    "m2ftrans": (32, {"network_width": 2, "mlp_dim": 32}),
}
"""Per backbone the smallest crop it takes, and what makes it narrow."""
TRAINING = {"epochs": 2, "num_workers": 0, "learning_rate": 0.003, "val_interval": 1, "cache": True}


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Path:
    """Seven cases: four to train, one to validate, two to test; missing.json lacks modalities in training."""
    folder = tmp_path_factory.mktemp("phantoms") / "cases"
    split = {"training": 4 / 7, "validation": 1 / 7, "test": 2 / 7}
    complete = write_brain_phantoms(folder, cases=7, size=(16, 20, 18), seed=0, split=split)
    rates = {"flair": 0.5, "t1ce": 0.25, "t1": 0.0, "t2": 0.5}
    simulate_missing(Datalist(complete), folder / "missing.json", rates, BRATS2020.modalities, seed=0)
    return folder


@pytest.fixture(scope="session")
def slice_phantoms(tmp_path_factory) -> Path:
    """Eight patients of eight slices, prepared from TIFF: four to train, two to validate, two to test."""
    folder = tmp_path_factory.mktemp("slices")
    write_lgg_phantoms(folder / "published", cases=8, size=(20, 20, 16))
    split = {"training": 0.5, "validation": 0.25, "test": 0.25}
    complete = prepare_lgg(folder / "published", folder / "cases", split=split, seed=0, forced={})[0]
    rates = {"t1": 0.5, "flair": 0.25, "t1ce": 0.25}
    simulate_missing(Datalist(complete), complete.parent / "missing.json", rates, TCGA_LGG.modalities, seed=0)
    return complete.parent


@pytest.fixture(scope="session")
def heart_phantoms(tmp_path_factory) -> Path:
    """Seven hearts: four to train, one to validate, two to test; missing.json lacks modalities in training."""
    folder = tmp_path_factory.mktemp("hearts") / "cases"
    split = {"training": 4 / 7, "validation": 1 / 7, "test": 2 / 7}
    complete = write_heart_phantoms(folder, cases=7, size=(20, 20), seed=0, split=split)
    rates = {"bssfp": 0.5, "lge": 0.25, "t2": 0.5}
    simulate_missing(Datalist(complete), folder / "missing.json", rates, MYOPS2020.modalities, seed=0)
    return folder


@pytest.fixture
def own_phantoms(phantoms, tmp_path) -> Path:
    """A copy of the phantoms that a test may damage."""
    return Path(shutil.copytree(phantoms, tmp_path / "own_phantoms"))


@pytest.fixture
def workflow(request, tmp_path) -> Callable[..., ConfigWorkflow]:
    """Make a workflow of a bundle: ``workflow("training", "train", "baseline", epochs=1)``."""

    def make(run_id: str, *configs: str, of: str = "brats2020_rfnet", **overrides: Any) -> ConfigWorkflow:
        dataset, backbone = of.rsplit("_", 1)
        fixture, dims, of_dataset = DATA[dataset]
        edge, of_network = NETWORKS[backbone]
        data = request.getfixturevalue(fixture)
        settings: dict[str, Any] = {"bundle_root": str(tmp_path), "dataset_dir": str(data)}
        if run_id != "inference":
            settings |= {"datalist": str(data / "missing.json"), **TRAINING}
        settings |= of_network | of_dataset | {"roi_size": [edge] * dims}
        if run_id == "inference":
            settings.pop("batch_size", None)
        return ConfigWorkflow(
            config_file=[str(BUNDLES / of / "configs" / f"{name}.json") for name in configs],
            meta_file=str(BUNDLES / of / "configs" / "metadata.json"),
            logging_file=False,
            run_id=run_id,
            **(
                settings | {name: str(value) if isinstance(value, Path) else value for name, value in overrides.items()}
            ),
        )

    return make


@pytest.fixture
def run(workflow) -> Callable[..., ConfigWorkflow]:
    """Make a workflow and run it."""

    def make_and_run(run_id: str, *configs: str, **overrides: Any) -> ConfigWorkflow:
        made = workflow(run_id, *configs, **overrides)
        made.initialize()
        made.run()
        return made

    return make_and_run


@pytest.fixture
def refused() -> Callable[..., Any]:
    """``with refused("pattern"):`` as pytest.raises, for the line that MONAI has wrapped."""
    return lambda pattern: pytest.raises(
        RuntimeError, check=lambda error: re.search(pattern, error_line(error) or "") and "\n" not in error_line(error)
    )


@pytest.fixture
def random_weights_of(workflow, tmp_path) -> Callable[[str], Path]:
    """Weights of a bundle that were never trained, whose predictions hold several classes."""

    def make(bundle: str) -> Path:
        inference = workflow("inference", "inference", of=bundle)
        inference.initialize()
        path = tmp_path / f"random_{bundle}.pt"
        torch.manual_seed(1)
        state = inference.parser.get_parsed_content("network_def").state_dict()
        torch.save({name: torch.randn_like(value) * value.std().nan_to_num(1.0) for name, value in state.items()}, path)
        return path

    return make


@pytest.fixture
def random_weights(random_weights_of) -> Path:
    return random_weights_of("brats2020_rfnet")


@pytest.fixture
def command(phantoms, tmp_path) -> Callable[..., list[str]]:
    """The command line of a run, as a user would type it in the bundle's folder."""

    def make(run_id: str, *configs: str, **overrides: Any) -> list[str]:
        settings = {"dataset_dir": phantoms, **SIZES, **overrides}
        if run_id != "inference":
            settings = {"datalist": phantoms / "missing.json", **TRAINING} | settings
        files = str([f"configs/{name}.json" for name in configs])
        options = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
        return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files, *options]

    return make


@pytest.fixture
def bundle() -> Path:
    """Folder of the bundle."""
    return BUNDLE


@pytest.fixture
def last_weights() -> Callable[[Path], dict[str, torch.Tensor]]:
    """Final weights of the run that wrote a folder."""
    return lambda folder: torch.load(folder / "model_last.pt", weights_only=True)


@pytest.fixture
def equal() -> Callable[..., bool]:
    """Whether two state dicts are the same bit for bit."""

    def compare(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
        return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)

    return compare


@pytest.fixture
def edit_datalist() -> Callable[[Path, Callable[[dict], None]], None]:
    """Change a datalist in place."""

    def edit(path: Path, change: Callable[[dict], None]) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit
