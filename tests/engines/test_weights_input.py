"""What weights carry, and what becomes of arguments that contradict it."""

import copy
import json

import pytest
import torch

from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG
from passion_components.engines.weights import (
    WeightsError,
    WeightsInfo,
    load_weights,
    start_from,
    started_from,
    warn_of_training_cases,
)
from passion_components.engines.weights_input import check_weights, describe_input, network_settings, weights_input
from passion_components.files import sha256_of


def small_mmformer(**settings):
    sizes = {"img_size": (32, 32), "spatial_dims": 2, "width": 2, "token_dim": 8, "mlp_dim": 8, "num_heads": 2}
    return MMFormer(n_modalities=3, n_classes=4, **(sizes | settings))


@pytest.fixture
def written(tmp_path):
    """Weights of a network with the JSON that training writes beside them, in an output folder."""

    def write(network, spec=MYOPS2020, **changed):
        settings = {"modalities": spec.modalities, "spacing": (2.0, 2.0), "roi_size": (96, 96), "label_scheme": None}
        said = describe_input(spec=spec, network=network, **settings) | changed
        torch.save(network.state_dict(), tmp_path / "model.pt")
        about = {"sha256": sha256_of(tmp_path / "model.pt"), "trained_on": {"dataset": spec.name, "input": said}}
        (tmp_path / "model.json").write_text(json.dumps(about))
        return said

    return write


@pytest.fixture
def trained(tmp_path):
    return lambda spec=MYOPS2020: weights_input(spec=spec, ckpt="", output_dir=tmp_path, bundle_root=tmp_path / "none")


def check(found, spec=MYOPS2020, **changed):
    given = {"modalities": found.modalities, "spacing": found.spacing, "roi_size": found.crop} | changed
    check_weights(found, spec=spec, **given)


def test_the_description_is_plain_and_complete():
    said = describe_input(
        spec=BRATS2020,
        network=RFNet(n_modalities=4, n_classes=4, width=4, separate_decoder=True),
        modalities=BRATS2020.modalities,
        spacing=(1, 1, 2),
        roi_size=(80, 80, 80),
        label_scheme="brats2023",
    )
    assert (
        said
        == json.loads(json.dumps(said))
        == {
            "dataset": "brats2020",
            "classes": list(BRATS2020.classes),
            "orientation": "LPS",
            "normalisation": "z-score of the foreground (nonzero)",
            "central": False,
            "modalities": ["flair", "t1ce", "t1", "t2"],
            "spacing": [1.0, 1.0, 2.0],
            "crop": [80, 80, 80],
            "label_scheme": "brats2023",
            "label_codes": {"0": 0, "1": 1, "2": 2, "3": 3},
            "network": {"class": "RFNet", "n_modalities": 4, "n_classes": 4, "spatial_dims": 3, "width": 4},
        }
    )


def test_what_weights_say_is_used(written, trained):
    network = small_mmformer(token_layout="published")
    written(network)
    found = trained()
    assert (found.modalities, found.spacing, found.crop) == (("bssfp", "lge", "t2"), (2.0, 2.0), (96, 96))
    assert found.network["token_layout"] == "published" and found.network["num_heads"] == 2


def test_without_weights_and_without_a_word_the_data_set_is_used(written, trained, tmp_path, caplog):
    for _ in range(2):
        found = trained()
        assert (found.modalities, found.spacing, found.crop) == (
            MYOPS2020.modalities,
            MYOPS2020.spacing,
            MYOPS2020.crop,
        )
        check(found, spacing=(3.0, 3.0))
        written(small_mmformer())
        (tmp_path / "model.json").unlink()
    assert not [record for record in caplog.records if record.levelname != "INFO"]


def test_another_spacing_or_window_is_a_warning_with_both(written, trained, caplog):
    written(small_mmformer())
    check(trained())
    assert not caplog.text
    check(trained(), spacing=[0.75, 0.75], roi_size=[256, 256])
    assert "--spacing 0.75 x 0.75 mm is not what the weights were trained with, 2.0 x 2.0 mm" in caplog.text
    assert "--roi_size 256 x 256 voxels is not what the weights were trained with, 96 x 96 voxels" in caplog.text


def test_another_order_of_channels_is_refused(written, trained, caplog):
    with caplog.at_level("WARNING"):
        check(trained(), modalities=["t2", "lge", "bssfp"])
    assert "nothing says with which channels" in caplog.text
    written(small_mmformer())
    with pytest.raises(ValueError, match="t2, lge, bssfp: .*model.pt was trained with the channels bssfp, lge, t2, in"):
        check(trained(), modalities=["t2", "lge", "bssfp"])


@pytest.mark.parametrize(
    ("spec", "changed", "line"),
    [
        (TCGA_LGG, {}, "was trained with dataset 'myops2020', here it is 'tcga_lgg'"),
        (MYOPS2020, {"classes": ["background", "heart"]}, r"trained with classes \['background', 'heart'\], here"),
        (MYOPS2020, {"normalisation": "none"}, "trained with normalisation 'none', here it is 'z-score"),
    ],
)
def test_another_data_set_is_refused_but_configs_can_still_be_read(written, trained, spec, changed, line):
    written(small_mmformer(), **changed)
    found = trained(spec)
    assert found.modalities == spec.modalities and found.spacing == spec.spacing
    with pytest.raises(ValueError, match=line):
        check(found, spec)


def test_what_no_shape_tells_of_a_network_is_compared(written, tmp_path):
    written(small_mmformer(token_layout="published"))
    for settings, line in (
        ({}, "belongs to a network with token_layout published, here it is aligned"),
        ({"token_layout": "published", "num_heads": 4}, "a network with num_heads 2, here it is 4"),
    ):
        with pytest.raises(WeightsError, match=line):
            load_weights(small_mmformer(**settings), ckpt="", output_dir=tmp_path, bundle_root=tmp_path)
    load_weights(small_mmformer(token_layout="published"), ckpt="", output_dir=tmp_path, bundle_root=tmp_path)


def test_settings_hold_defaults_and_survive_a_copy():
    network = copy.deepcopy(small_mmformer())
    assert network_settings(network)["depth"] == 1 and network_settings(network)["img_size"] == [32, 32]
    assert network_settings(torch.nn.Linear(1, 1)) == {}


def test_a_training_may_start_from_weights_of_the_same_channels(written, tmp_path):
    written(small_mmformer())
    network, path = small_mmformer(), str(tmp_path / "model.pt")

    def start(ckpt, modalities=MYOPS2020.modalities):
        start_from(network, ckpt=ckpt, trained=weights_input(spec=MYOPS2020, ckpt=ckpt), modalities=modalities)

    start(path)
    expected = torch.load(path, weights_only=True)
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    with pytest.raises(
        WeightsError, match="was trained with the channels bssfp, lge, t2, here they are t2, lge, bssfp"
    ):
        start(path, ("t2", "lge", "bssfp"))
    with pytest.raises(WeightsError, match="no weights: looked for gone.pt"):
        start("gone.pt")


def test_a_training_without_weights_to_start_from_looks_for_none(written, tmp_path, monkeypatch):
    written(small_mmformer())
    monkeypatch.chdir(tmp_path)
    found = weights_input(spec=MYOPS2020, ckpt="")
    assert found.path is None and (found.spacing, found.crop) == (MYOPS2020.spacing, MYOPS2020.crop)


def test_the_start_is_known_by_its_hash_and_kept_on_resume(written, tmp_path):
    written(small_mmformer())
    path, out = str(tmp_path / "model.pt"), tmp_path / "run"
    assert started_from(ckpt="", resume=False, output_dir=out) is None
    assert started_from(ckpt=path, resume=False, output_dir=out) == sha256_of(path)
    assert started_from(ckpt="", resume=True, output_dir=out) is None
    out.mkdir()
    (out / "model_last.json").write_text(json.dumps({"trained_on": {"started_from": "abc"}}))
    assert started_from(ckpt="", resume=True, output_dir=out) == "abc"


def test_cases_of_the_training_are_named_once(tmp_path, caplog):
    (tmp_path / "split.json").write_text(json.dumps({"training": ["c", "a", "x"], "test": ["b"]}))
    weights = WeightsInfo(path=str(tmp_path / "model.pt"), sha256="", trained_on="")
    warn_of_training_cases(weights, ["b", "d"])
    assert not caplog.text
    warn_of_training_cases(weights, ["a", "b", "c"])
    assert "2 of 3 cases were trained on with these weights and tell nothing of new ones: a, c" in caplog.text
