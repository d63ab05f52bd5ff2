import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.cli import app, main
from passion_components.datasets import BRATS2020
from passion_components.engines.weights import load_weights
from passion_components.engines.weights_input import network_settings, weights_input

NETWORKS = {
    "rfnet": lambda: RFNet(n_modalities=4, n_classes=4, width=4),
    "mmformer": lambda: MMFormer(
        n_modalities=4,
        n_classes=4,
        img_size=(32, 32, 32),
        width=2,
        token_dim=32,
        mlp_dim=64,
        num_heads=4,
        token_layout="published",
    ),
    "m2ftrans": lambda: M2FTrans(n_modalities=4, n_classes=4, img_size=(32, 32, 32), width=2, mlp_dim=64, num_heads=4),
}


@pytest.fixture
def checkpoint(published, tmp_path):
    """A checkpoint as the published training code leaves it behind."""

    def write(backbone):
        state = {f"module.{name}": torch.from_numpy(value) for name, value in published(backbone).state.items()}
        path = tmp_path / f"{backbone}.pth"
        torch.save({"epoch": 2, "state_dict": state, "optim_dict": {"state": {}, "param_groups": []}}, path)
        return path

    return write


def error_line(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["passion", "convert-weights", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("backbone", list(NETWORKS))
@torch.no_grad()
def test_what_is_written_is_the_network_that_inference_loads(published, checkpoint, tmp_path, backbone):
    out = tmp_path / "model.safetensors"
    arguments = [
        "convert-weights",
        str(checkpoint(backbone)),
        "--backbone",
        backbone,
        "--out",
        str(out),
        "--num-heads",
        "4",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and f"--ckpt {out}" in result.output.replace("\n", "")
    network = NETWORKS[backbone]()
    found = weights_input(spec=BRATS2020, ckpt=str(out), output_dir=tmp_path, bundle_root=tmp_path)
    assert found.said["modalities"] == ["flair", "t1ce", "t1", "t2"]
    assert found.network == network_settings(network)
    load_weights(network, ckpt=str(out), output_dir=tmp_path, bundle_root=tmp_path)
    expected = published(backbone).network(np.float32)
    image = published(backbone).image(np.float32)[:1]
    assert torch.equal(network.eval()(image), expected(image))
    assert not any(name.startswith("separate.") for name in load_file(out))


def test_weights_of_another_backbone_are_refused_by_name(checkpoint, tmp_path, capsys, monkeypatch):
    out = tmp_path / "model.safetensors"
    line = error_line(capsys, monkeypatch, checkpoint("rfnet"), "--backbone", "m2ftrans", "--out", out)
    assert "rfnet.pth: not the published parameters of m2ftrans: fusion is missing" in line and not out.exists()


def test_a_file_without_weights_is_refused(tmp_path, capsys, monkeypatch):
    (tmp_path / "notes.pth").write_text("no weights")
    line = error_line(
        capsys, monkeypatch, tmp_path / "notes.pth", "--backbone", "rfnet", "--out", tmp_path / "m.safetensors"
    )
    assert line.endswith("notes.pth is damaged, or no weight file; fetch or write it again")


def test_other_endings_are_refused(checkpoint, tmp_path, capsys, monkeypatch):
    line = error_line(capsys, monkeypatch, checkpoint("rfnet"), "--backbone", "rfnet", "--out", tmp_path / "model.pt")
    assert line.endswith("model.pt: expected a name that ends in .safetensors")
