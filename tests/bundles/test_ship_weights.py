"""``scripts/ship_weights.py``: what a run leaves in a bundle, and what the model card makes of it."""

import importlib.util
import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import torch

from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.data.errors import UserError
from passion_components.data.lists.datalist import Datalist, write_datalist
from passion_components.datasets import dataset_spec
from passion_components.files import sha256_of

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = {
    "RFNet": (RFNet, {}),
    "MMFormer": (MMFormer, {"img_size": [32, 32], "token_dim": 16, "mlp_dim": 16}),
    "M2FTrans": (M2FTrans, {"img_size": [32, 32], "mlp_dim": 16}),
}


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """``ship_weights`` and ``generate_bundles``, at work on copies of the bundles' configs."""

    def ignored(folder: str, names: list[str]) -> list[str]:
        return names if folder.endswith("models") else [name for name in names if name == "output"]

    shutil.copytree(ROOT / "bundles", tmp_path / "root" / "bundles", ignore=ignored)
    shutil.copy(ROOT / "LICENSE", tmp_path / "root")
    found = []
    for name in ("ship_weights", "generate_bundles"):
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(module, "ROOT", tmp_path / "root")
        found.append(module)
    return found


@pytest.fixture
def data(workflow, tmp_path):
    """Phantoms of a bundle as a folder with a datalist, in which some parts may be empty."""

    def make(of: str, *, without: tuple[str, ...] = ()) -> Path:
        spec = dataset_spec(of.rpartition("_")[0])
        drawn = Datalist(Path(workflow("training", "train", of=of).parser.get("datalist")))
        parts = {part: [] if part in without else cases for part, cases in drawn.parts(spec.modalities).items()}
        (tmp_path / "data").mkdir()
        write_datalist(tmp_path / "data" / "datalist.json", parts)
        return tmp_path / "data"

    return make


@pytest.fixture
def ship(run, scripts, monkeypatch, tmp_path):
    """Train for an epoch and ship; gives the bundle's models folder."""

    def make(of: str, folder: Path, *more: str) -> Path:
        out = tmp_path / "run"
        run("training", "train", of=of, datalist=folder / "datalist.json", output_dir=out, epochs=1)
        words = ["ship_weights.py", of, "--run", str(out), "--dataset_dir", str(folder)]
        monkeypatch.setattr(sys, "argv", [*words, *more])
        assert scripts[0].main() == 0
        return tmp_path / "root" / "bundles" / of / "models"

    return make


@pytest.mark.parametrize("name", NETWORKS)
def test_a_threshold_is_a_step_of_the_foregrounds_logit(scripts, name):
    make, sizes = NETWORKS[name]
    torch.manual_seed(0)
    network = make(n_modalities=2, n_classes=2, spatial_dims=2, width=4, **sizes).eval()
    image, presence = torch.randn(1, 2, 32, 32), torch.tensor([[True, True]])
    with torch.inference_mode():
        before = network(image, presence)
        network.load_state_dict(scripts[0].with_threshold(network.state_dict(), name, 0.7))
        step = network(image, presence) - before
    torch.testing.assert_close(step[:, 0], torch.zeros_like(step[:, 0]))
    torch.testing.assert_close(step[:, 1], torch.full_like(step[:, 1], -math.log(0.7 / 0.3)), atol=1e-5, rtol=0)


def test_three_classes_are_shipped_as_trained_with_the_scores_of_the_test_part(ship, data, scripts, tmp_path):
    models = ship("brats2021_rfnet", data("brats2021_rfnet"))
    trained = torch.load(tmp_path / "run" / "model.pt", weights_only=True)
    shipped = torch.load(models / "model.pt", weights_only=True)
    assert all(torch.equal(value, shipped[name]) for name, value in trained.items())
    assert not (models / "threshold.csv").exists()
    summary = json.loads((models / "evaluation.json").read_text())
    assert (summary["cases"], summary["run"]["part"]) == (2, "test") and len(summary["subsets"]) == 15
    assert summary["run"]["mirror_axes"] == []
    assert summary["run"]["weights"]["sha256"] == sha256_of(models / "model.pt")
    assert str(tmp_path) not in (models / "evaluation.json").read_text()

    (models / "commands.txt").write_text("python -m monai.bundle run training ...\n")
    card = scripts[1].bundle_files("brats2021", "rfnet")["docs/README.md"]
    assert card.splitlines()[2] == "**Trained on 4 patients; chosen on 1 other, scored on 2 others.**"
    assert "2 test cases" in card and "```bash\npython -m monai.bundle run training ...\n```" in card
    assert not {"threshold", "mirrored"} & set(card.partition("## Performance")[2].split())
    assert "4 training cases, 1 epochs, seed 0. Scored on the test cases (`evaluation.json`)" in card

    about = json.loads((models / "model.json").read_text())
    about["trained_on"]["started_from"] = "0" * 64
    (models / "model.json").write_text(json.dumps(about))
    card = scripts[1].bundle_files("brats2021", "rfnet")["docs/README.md"]
    assert "1 epochs from earlier weights on, seed 0" in card


def test_without_test_cases_the_card_says_that_those_scored_also_chose(ship, data, scripts):
    models = ship("tcga_lgg_mmformer", data("tcga_lgg_mmformer", without=("test",)), "--mirror_axes", "1", "0")
    summary = json.loads((models / "evaluation.json").read_text())
    assert (summary["cases"], summary["run"]["part"]) == (2, "validation")
    table = [line.split(",") for line in (models / "threshold.csv").read_text().splitlines()[1:]]
    by_threshold = {float(threshold): float(dice) for threshold, dice in table}
    about = json.loads((models / "model.json").read_text())
    chosen = about["threshold"]
    assert about["mirror_axes"] == summary["run"]["mirror_axes"] == [1, 0]
    assert by_threshold[chosen] == max(by_threshold.values())
    # what was predicted when choosing is what the shipped weights give; its mean is over cases and subsets together
    scored = [(entry["n"], entry["dice"]["lesion"]) for entry in summary["subsets"].values()]
    mean = sum(n * dice for n, dice in scored) / sum(n for n, _ in scored)
    assert mean == pytest.approx(by_threshold[chosen], abs=0.01)
    card = scripts[1].bundle_files("tcga_lgg", "mmformer")["docs/README.md"]
    assert "**Trained on 4 patients; chosen and scored on the same 2 others" in card
    assert "2 validation cases" in card and "Windows are predicted mirrored along the axes 0, 1 as well" in card


def test_runs_that_cannot_be_scored_are_refused(scripts, data):
    datalist = Datalist(data("tcga_lgg_rfnet", without=("validation", "test")) / "datalist.json")
    with pytest.raises(UserError, match="parts test and validation are empty; expected cases to score"):
        scripts[0].scored_part(datalist, dataset_spec("tcga_lgg").modalities)


def test_what_cannot_be_shipped_is_told_in_one_line(scripts, data, monkeypatch, capsys, tmp_path):
    folder, run = data("tcga_lgg_rfnet"), tmp_path / "run"
    run.mkdir()
    about = {"dataset": "tcga_lgg", "datalist_hash": Datalist(folder / "datalist.json").hash()}

    def said(bundle: str, trained_on: dict | None, *more: str) -> str:
        if trained_on is not None:
            (run / "model.json").write_text(json.dumps({"trained_on": trained_on}))
        words = ["ship_weights.py", bundle, "--run", str(run), "--dataset_dir", str(folder)]
        monkeypatch.setattr(sys, "argv", [*words, *more])
        assert scripts[0].main() == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("error: ")

    assert said("tcga_lgg_rfnet", None).endswith(
        "model.json: tells of no training; give with --run the output_dir of one"
    )
    (run / "model.json").write_text("{")
    assert "model.json: tells of no training" in said("tcga_lgg_rfnet", None)
    assert "was trained on another datalist" in said("tcga_lgg_rfnet", about | {"datalist_hash": "0"})
    assert "was trained on tcga_lgg, which is not the data set of myops2020_rfnet" in said("myops2020_rfnet", about)
    assert "has no model.pt, history.csv, preference.csv; give with --run" in said("tcga_lgg_rfnet", about)
    for name in ("tcga_lgg_none", "bundles/tcga_lgg_rfnet", ""):
        assert f"no bundle {name!r}; accepted: brats2020_m2ftrans, " in said(name, about)
    for name in scripts[0].OF_A_RUN:
        (run / name).touch()
    sizes = about | {"input": {"crop": [96, 96]}}
    assert said("tcga_lgg_rfnet", sizes, "--mirror_axes", "2").endswith("from 0 to 1, or empty, got [2]")
    (folder / "datalist.json").write_text("{")
    assert "datalist.json: is not valid JSON" in said("tcga_lgg_rfnet", about)
