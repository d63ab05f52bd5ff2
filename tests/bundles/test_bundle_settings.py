"""What holds for every bundle: all settings run, and MONAI's own checks pass."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, verify_net_in_out

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import dataset_spec
from passion_components.engines.config_keys import keys_in_use

ROOT = Path(__file__).resolve().parents[2]
BUNDLES = sorted(path.name for path in (ROOT / "bundles").iterdir())
SCHEMA = json.loads((ROOT / "tests" / "data" / "metadata_schema.json").read_text())

OBJECTIVES = {
    "recommended": "PassionObjective",
    "baseline": "BaselineObjective",
    "pmr": "PMRObjective",
    "released_code": "ReleasedObjective",
}
SETTINGS = [
    tuple(name for name in (objective, sampling) if name)
    for objective in (None, *OBJECTIVES)
    for sampling in (None, "moddrop", "pdt")
]
FAST = [("tcga_lgg_rfnet", setting) for setting in SETTINGS]
FAST += [
    (of, setting)
    for of in ("brats2020_rfnet", "myops2020_mmformer", "tcga_lgg_m2ftrans")
    for setting in ((), ("released_code", "moddrop"))
]
FAST += [("brats2021_rfnet", ())]
"""All settings in one bundle, and each data set and each backbone; scripts/test.sh --full runs all of all."""

every_bundle = pytest.mark.parametrize("of", BUNDLES)
every_setting = pytest.mark.parametrize(
    ("of", "overlays"),
    [
        pytest.param(
            of, overlays, id="+".join((of, *overlays)), marks=[] if (of, overlays) in FAST else pytest.mark.full
        )
        for of in BUNDLES
        for overlays in SETTINGS
    ],
)


def spec_of(bundle: str):
    return dataset_spec(bundle.rpartition("_")[0])


def test_there_are_ten_of_them():
    datasets, backbones = ("brats2020", "myops2020", "tcga_lgg"), ("m2ftrans", "mmformer", "rfnet")
    pairs = [f"{dataset}_{backbone}" for dataset in datasets for backbone in backbones]
    assert sorted(["brats2021_rfnet", *pairs]) == BUNDLES


@every_setting
def test_trains_scores_and_segments(run, of, overlays, tmp_path):
    out = tmp_path / "run"
    workflow = run("training", "train", *overlays, of=of, output_dir=out, epochs=1)
    written = {path.name for path in out.iterdir()}
    assert {"model.pt", "model_last.pt", "checkpoint.pt", "history.csv", "preference.csv", "tensorboard"} <= written
    losses = [float(line.split(",")[2]) for line in (out / "history.csv").read_text().splitlines()[1:]]
    assert np.isfinite(losses).all()
    objective = next((OBJECTIVES[name] for name in overlays if name in OBJECTIVES), "PassionObjective")
    made = workflow.parser.get_parsed_content("objective")
    assert type(made).__name__ == objective
    assert getattr(made, "unimodal", False) == ("neglected" if "recommended" in overlays else False)

    run("evaluating", "train", *overlays, "evaluate", of=of, output_dir=out)
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["subsets"]) == 2 ** len(spec_of(of).modalities) - 1
    assert "| Avg. |" in (out / "table.md").read_text()

    data = Path(workflow.parser.get("dataset_dir"))
    scans = data / "train25" if (data / "train25").exists() else data
    run("inference", "inference", of=of, dataset_dir=scans, output_dir=tmp_path / "segmented", ckpt=out / "model.pt")
    for case in Datalist(f"{data}/datalist.json").cases("test", spec_of(of).modalities):
        label_map = nib.load(tmp_path / "segmented" / case["case"] / f"{case['case']}_seg.nii.gz")
        assert label_map.shape == nib.load(case["label"]).shape
        assert set(np.unique(label_map.dataobj)) <= set(spec_of(of).label_codes)


@every_bundle
def test_the_demo_overlay_lies_over_every_program(workflow, of):
    for run_id, configs in (
        ("training", ("train", "demo")),
        ("evaluating", ("train", "evaluate", "demo")),
        ("inference", ("inference", "demo")),
    ):
        workflow(run_id, *configs, of=of).initialize()


@every_bundle
def test_every_key_has_an_effect(of):
    configs = ROOT / "bundles" / of / "configs"

    def load(*names):
        return ConfigParser.load_config_files([str(configs / f"{name}.json") for name in names])

    lists = {"imports", "run", "training", "evaluating", "inference"}
    train, evaluate, inference = load("train"), load("train", "evaluate"), load("inference")
    of_label_maps = {"min_component_share"}  # of the data set, for evaluate.json over it
    assert set(train) - lists - of_label_maps == keys_in_use(train, "training") - lists
    assert set(inference) - lists == keys_in_use(inference, "inference") - lists
    overlay = json.loads((configs / "evaluate.json").read_text())
    own = {key.split("#")[0] for key in overlay} | {"num_workers", "overlap", "resample_to", "datalist"}
    assert (own | of_label_maps) - lists <= keys_in_use(evaluate, "evaluating")
    assert "epochs" not in keys_in_use(evaluate, "evaluating")


@pytest.mark.parametrize(
    ("run_id", "configs", "gpu", "given", "expected"),
    [
        ("training", ("train",), "computes in bfloat16", {}, True),
        ("training", ("train",), "computes in bfloat16", {"device": "cpu"}, False),
        ("training", ("train",), "computes in bfloat16", {"amp": False}, False),
        ("training", ("train",), "emulates bfloat16", {}, False),
        ("training", ("train",), None, {}, False),
        ("evaluating", ("train", "evaluate"), "computes in bfloat16", {}, False),
        ("inference", ("inference",), "computes in bfloat16", {}, False),
    ],
)
def test_training_alone_takes_bfloat16_by_itself(workflow, monkeypatch, run_id, configs, gpu, given, expected):
    made = workflow(run_id, *configs, **given)
    made.initialize()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: gpu == "computes in bfloat16" or (gpu is not None and including_emulation),
    )
    assert made.parser.get_parsed_content("amp") is expected


@every_bundle
@pytest.mark.parametrize(
    ("pair", "what"),
    [
        (("moddrop", "pdt"), "sampling of presence"),
        (("pdt", "moddrop"), "sampling of presence"),
        (("baseline", "pmr"), "objective"),
        (("recommended", "baseline"), "objective"),
        (("released_code", "baseline"), "objective"),
        (("pmr", "released_code"), "objective"),
    ],
)
def test_overlays_that_contradict_each_other_are_refused(run, refused, of, pair, what):
    with refused(f"the overlays {pair[0]} and {pair[1]} each choose the {what}"):
        run("training", "train", *pair, of=of)


@every_bundle
@pytest.mark.parametrize(
    ("kind", "run_id", "configs"),
    [
        ("train", "training", ("train",)),
        ("train", "evaluating", ("train", "evaluate")),
        ("infer", "inference", ("inference",)),
    ],
    ids=["training", "evaluating", "inference"],
)
def test_monai_finds_every_property(workflow, of, kind, run_id, configs):
    made = workflow(run_id, *configs, of=of, workflow_type=kind)
    made.initialize()
    assert made.check_properties() == []


@every_bundle
@pytest.mark.parametrize("n", [1, 2])
def test_the_network_takes_and_gives_what_the_metadata_say(of, n):
    configs = ROOT / "bundles" / of / "configs"
    files = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "inference.json")}
    verify_net_in_out("network_def", device="cpu", n=n, **files)


@every_bundle
def test_metadata_follow_the_schema(of):
    metadata = json.loads((ROOT / "bundles" / of / "configs" / "metadata.json").read_text())
    jsonschema.validate(metadata, SCHEMA)
    told = metadata["name"].lower().replace("-", "_") + " " + metadata["description"].lower()
    assert all(word in told for word in of.rsplit("_", 1)) and all(name in told for name in spec_of(of).modalities)
    channels = metadata["network_data_format"]["inputs"]["image"]
    assert channels["num_channels"] == len(spec_of(of).modalities) == len(channels["channel_def"])
    pred = metadata["network_data_format"]["outputs"]["pred"]
    assert pred["num_channels"] == len(spec_of(of).classes) == len(pred["channel_def"])


@every_bundle
def test_configs_name_no_other_file_and_no_place_on_a_machine(of):
    for path in (ROOT / "bundles" / of / "configs").iterdir():
        for text in re.findall(r'"([^"]*)"', path.read_text()):
            assert not text.startswith("/") and not re.search(r"%.*\.(json|yaml)", text), (path, text)


@pytest.fixture
def generator(monkeypatch, tmp_path):
    """The generator, at work on a copy of the bundles."""
    spec = importlib.util.spec_from_file_location("generate_bundles", ROOT / "scripts" / "generate_bundles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.copytree(ROOT / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("output"))
    shutil.copy(ROOT / "LICENSE", tmp_path)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate_bundles.py", "--check"])
    return module


def test_generated_files_are_up_to_date(generator):
    assert generator.main() == 0


def test_comparing_creates_no_folder(generator, tmp_path):
    shutil.rmtree(tmp_path / "bundles" / BUNDLES[0])
    assert generator.main() == 1 and not (tmp_path / "bundles" / BUNDLES[0]).exists()


def test_a_changed_byte_is_found_and_left_alone(generator, capsys, tmp_path):
    path = tmp_path / "bundles" / BUNDLES[0] / "configs" / "train.json"
    path.write_text(path.read_text().replace("300", "301", 1))
    assert generator.main() == 1
    assert capsys.readouterr().out.strip() == f"stale: bundles/{BUNDLES[0]}/configs/train.json"
    assert "301" in path.read_text()


@pytest.mark.parametrize(("content", "said"), [("{", "is no JSON"), (None, "no such file")])
def test_where_a_file_of_the_weights_is_unusable_nothing_is_written(
    generator, monkeypatch, capsys, tmp_path, content, said
):
    card = tmp_path / "bundles" / "brats2020_rfnet" / "docs" / "README.md"
    card.write_text("old")
    split = tmp_path / "bundles" / "tcga_lgg_rfnet" / "models" / "split.json"
    split.write_text(content) if content else split.unlink()
    monkeypatch.setattr(generator, "BUNDLES", [("brats2020", "rfnet"), ("tcga_lgg", "rfnet")])
    monkeypatch.setattr(sys, "argv", ["generate_bundles.py"])
    assert generator.main() == 1 and card.read_text() == "old"
    assert capsys.readouterr().err.startswith(f"error: {split}: {said}; take it from a copy")
