"""The weights that a bundle finds decide what they are fed with."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigWorkflow

from passion_components.files import sha256_of

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


@pytest.fixture
def program(tmp_path):
    """A program of a bundle as documented, without arguments but for its folders."""

    def make(run_id, *configs, of="myops2020_mmformer", **overrides):
        folder = BUNDLES / of / "configs"
        workflow = ConfigWorkflow(
            config_file=[str(folder / f"{name}.json") for name in configs],
            meta_file=str(folder / "metadata.json"),
            logging_file=False,
            run_id=run_id,
            output_dir=str(tmp_path),
            **overrides,
        )
        workflow.parser.parse(True)
        return workflow.parser

    return make


PROGRAMS = [("evaluating", ("train", "evaluate")), ("inference", ("inference",))]


@pytest.mark.parametrize(
    ("run_id", "configs"),
    [
        *PROGRAMS,
        ("evaluating", ("train", "own_data", "evaluate")),
        ("evaluating", ("train", "evaluate", "own_data")),
        ("inference", ("inference", "own_data")),
    ],
)
def test_evaluation_and_inference_take_what_training_used(program, heart_phantoms, tmp_path, run_id, configs):
    trained = program(
        "training",
        *("train", "demo"),
        datalist=str(heart_phantoms / "datalist.json"),
        network_width=2,
        mlp_dim=16,
        token_dim=16,
        **{"network_def#token_layout": "published", "network_def#num_heads": 4},
    )
    said = trained.get_parsed_content("run_description")["input"]
    (tmp_path / "model.pt").touch()
    (tmp_path / "model.json").write_text(json.dumps({"trained_on": {"input": said}}))
    used = program(run_id, *configs)
    assert used.get_parsed_content("spacing") == [2.0, 2.0] and used.get_parsed_content("roi_size") == [96, 96]
    network = used.get_parsed_content("network_def")
    assert network.token_layout == "published"
    assert {key: network.settings[key] for key in ("width", "mlp_dim", "token_dim", "num_heads")} == {
        "width": 2,
        "mlp_dim": 16,
        "token_dim": 16,
        "num_heads": 4,
    }
    assert program(run_id, *configs, spacing=[1.5, 1.5]).get_parsed_content("spacing") == [1.5, 1.5]
    (tmp_path / "model.json").unlink()
    assert program(run_id, *configs).get_parsed_content("spacing") == [0.75, 0.75]


@pytest.mark.parametrize(("run_id", "configs"), PROGRAMS)
def test_the_check_stands_before_anything_is_read(program, run_id, configs):
    check = program(run_id, *configs).config[run_id][0]
    assert list(check)[:2] == ["_target_", "_requires_"], "arguments are checked before anything else is made"
    targets = (check["_target_"], check["_requires_"]["_target_"])
    name = {"evaluating": "check_evaluation", "inference": "check_inference"}[run_id]
    assert [target.rpartition(".")[2] for target in targets] == [name, "check_arguments"]


def test_shipped_weights_are_not_fed_in_another_order(run, refused, slice_phantoms, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(BUNDLES / "tcga_lgg_rfnet" / "models", models)
    wrong = {"of": "tcga_lgg_rfnet", "dataset_dir": slice_phantoms, "modalities": ["flair", "t1", "t1ce"]}
    with refused("was trained with the channels t1, flair, t1ce, in this order"):
        run("inference", "inference", **wrong)


def test_a_training_starts_from_given_weights(run, random_weights, tmp_path, refused):
    out = tmp_path / "run"
    start = {"ckpt": random_weights, "output_dir": out}
    run("training", "train", **start, epochs=1, learning_rate=0.0)
    assert json.loads((out / "model.json").read_text())["trained_on"]["started_from"] == sha256_of(random_weights)
    before, after = (torch.load(path, weights_only=True) for path in (random_weights, out / "model.pt"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert len(json.loads((out / "split.json").read_text())["training"]) == 4
    with refused("--ckpt with --resume True"):
        run("training", "train", **start, epochs=2, lr_horizon=2, resume=True)
    with refused("no weights: looked for .*gone.pt"):
        run("training", "train", ckpt=tmp_path / "gone.pt", output_dir=tmp_path / "other")
