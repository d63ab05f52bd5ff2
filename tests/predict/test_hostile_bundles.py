"""Bundles of strangers: nothing in them runs."""

import json

import pytest
import torch
from safetensors.torch import save_file

from passion_components import Segmenter
from passion_components.backbones.mmformer import MMFormer
from passion_components.data.errors import UserError


@pytest.fixture
def evil(bundle, tmp_path):
    """Put expressions that leave a trace into the configs, in whose place ``known`` values stay plain."""

    def spoil(**known):
        touch = f"$__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"
        target = {"_target_": "pathlib.Path.touch", "self": str(tmp_path / "ran")}
        keys = ("dataset_file", "network_width", "preprocessing", "modalities", "inferer", "evaluator", "run")
        content = {"imports": [touch], "network_def": target, **dict.fromkeys(keys, touch)} | known
        for name in ("inference", "train", "metadata"):
            (bundle / "configs" / f"{name}.json").write_text(json.dumps(content))
        return bundle

    return spoil


def refused(line):
    return pytest.raises(UserError, check=lambda error: line in str(error) and "\n" not in str(error))


def test_expressions_are_never_evaluated(evil, scans, tmp_path):
    found = Segmenter.load(evil()).segment({"t1": scans / "P0/P0_t1.nii.gz"})
    assert found.image.shape == (20, 18, 3) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["overlap", "sw_batch_size", "blending", "windows", "min_component_share"])
def test_a_value_that_only_an_expression_tells_is_refused(evil, tmp_path, key):
    bundle = evil(**{key: f"$__import__('os').system('touch {tmp_path / 'ran'}')"})
    with refused(f"small: its configs tell {key} by an expression (") as refusal:
        Segmenter.load(bundle)
    assert "which is not evaluated" in str(refusal.value) and not (tmp_path / "ran").exists()


def test_without_a_word_beside_the_weights_the_configs_tell_by_plain_values_or_not_at_all(bundle, evil, network):
    (bundle / "models" / "model.json").unlink()
    with refused("its configs tell dataset_file by an expression"):
        Segmenter.load(evil())
    definition = {
        "_target_": "passion_components.backbones.rfnet.RFNet",
        "n_modalities": "$len(@modalities)",
        "width": "@network_width",
    }
    with refused("its configs tell network_width by an expression"):
        Segmenter.load(evil(dataset_file="tcga_lgg", network_def=definition))
    loaded = Segmenter.load(evil(dataset_file="tcga_lgg", network_def=definition, network_width=4))
    assert loaded.network.settings == network.settings
    assert loaded.model.trained.spacing == loaded.spec.spacing


def test_a_network_that_is_none_of_ours_is_refused(bundle, evil):
    (bundle / "models" / "model.json").unlink()
    with refused("small: its network is 'os.system'; accepted here: RFNet, MMFormer, M2FTrans"):
        Segmenter.load(evil(dataset_file="tcga_lgg", network_def={"_target_": "os.system", "command": "true"}))


def test_a_pickle_in_the_place_of_weights_is_refused(bundle, tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    for name in ("model.safetensors", "model.json"):
        (bundle / "models" / name).unlink()
    (bundle / "configs/inference.json").write_text(
        json.dumps(
            {"dataset_file": "tcga_lgg", "network_def": {"_target_": "passion_components.backbones.rfnet.RFNet"}}
        )
    )
    torch.save(Payload(), bundle / "models/model.pt")
    with refused("model.pt holds more than weights and could be read only by executing it"):
        Segmenter.load(bundle)
    assert not (tmp_path / "ran").exists()


def test_weights_of_another_backbone_are_refused(bundle, tmp_path):
    other = MMFormer(n_modalities=3, n_classes=2, spatial_dims=2, img_size=[32, 32], width=2, token_dim=16, mlp_dim=32)
    save_file(other.state_dict(), bundle / "models/model.safetensors")
    about = json.loads((bundle / "models/model.json").read_text())
    del about["sha256_safetensors"]
    (bundle / "models/model.json").write_text(json.dumps(about))
    with refused("model.safetensors does not fit RFNet as configured here"):
        Segmenter.load(bundle)


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("width", "wide", "model.json: RFNet: "),
        ("width", -1, "model.json: RFNet: "),
        ("depth", 3, "model.json: RFNet: "),
        ("class", "os.system", "small: its network is 'os.system'; accepted here: "),
        ("class", ["RFNet"], "small: its network is ['RFNet']; accepted here: "),
    ],
)
def test_numbers_that_make_no_network_are_refused(bundle, key, value, line):
    path = bundle / "models/model.json"
    about = json.loads(path.read_text())
    about["trained_on"]["input"]["network"][key] = value
    path.write_text(json.dumps(about))
    with refused(line):
        Segmenter.load(bundle)
