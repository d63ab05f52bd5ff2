"""Loading published weights: what is read, what is refused."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from passion_components.backbones.published_weights import load_published


@pytest.fixture
def published_state(published):
    return published("rfnet").state


class TestSizes:
    def test_of_mmformer_follow_from_the_shapes(self, published):
        network = published("mmformer").network(np.float32)
        assert (network.n_modalities, network.n_classes, network.grid) == (4, 4, (2, 2, 2))
        assert network.positions.shape == (4, 8, 32) and len(network.across) == 1
        assert network.across[0].mlp[0].out_features == 64 and network.across[0].num_heads == 4
        assert network.token_layout == "published" and network.separate is not None and not network.training

    def test_of_m2ftrans_follow_from_the_shapes(self, published):
        network = published("m2ftrans").network(np.float32)
        assert (network.n_modalities, network.n_classes, network.grid) == (4, 4, (2, 2, 2))
        assert len(network.transformer) == 3 and network.transformer[0].num_heads == 4
        assert network.separate is not None and not network.training

    @pytest.mark.parametrize("name", ["mmformer", "m2ftrans"])
    def test_heads_must_divide_the_features(self, published, name):
        with pytest.raises(ValueError, match="num_heads must divide the 32 features of a token, got 5"):
            load_published(published(name).state, name, num_heads=5)

    def test_positions_that_form_no_cube_are_refused(self, published):
        state = dict(published("mmformer").state)
        state["flair_pos"] = np.zeros((1, 9, 32), dtype=np.float32)
        with pytest.raises(ValueError, match="mmformer: 9 positions are no 3D grid with equal sides"):
            load_published(state, "mmformer", num_heads=4)

    @pytest.mark.parametrize(
        ("name", "other"), [("mmformer", "m2ftrans"), ("m2ftrans", "rfnet"), ("rfnet", "mmformer")]
    )
    def test_weights_of_another_backbone_are_refused(self, published, name, other):
        with pytest.raises(ValueError, match=f"not the published parameters of {other}: .* is missing"):
            load_published(published(name).state, other)

    @pytest.mark.parametrize("name", ["mmformer", "m2ftrans"])
    def test_missing_and_left_over_parameters_are_named(self, published, name):
        state = dict(published(name).state)
        state["extra.weight"] = state.pop("t1_encoder.e2_c1.conv.bias")
        with pytest.raises(ValueError, match=r"1 missing \(t1_encoder.e2_c1.conv.bias\); 1 left over \(extra.weight\)"):
            load_published(state, name, num_heads=4)


class TestLoading:
    def test_sizes_follow_from_the_shapes(self, published_state):
        network = load_published(published_state, "rfnet")
        assert (network.n_modalities, network.n_classes, network.spatial_dims) == (4, 4, 3)
        assert network.encoders[0].levels[0][0].conv.out_channels == 4 and network.separate is not None
        assert not network.training and next(network.parameters()).dtype == torch.float32

    def test_float64_stays_float64(self, published):
        assert all(p.dtype == torch.float64 for p in published("rfnet").network(np.float64).parameters())

    def test_bfloat16_becomes_float32(self, published_state):
        state = {name: torch.from_numpy(value).bfloat16() for name, value in published_state.items()}
        assert all(p.dtype == torch.float32 for p in load_published(state, "rfnet").parameters())

    def test_without_separate_decoder(self, published_state):
        fused_only = {name: value for name, value in published_state.items() if not name.startswith("decoder_sep.")}
        assert load_published(fused_only, "rfnet").separate is None

    @pytest.mark.parametrize("n_classes", [1, 3])
    def test_other_numbers_of_classes(self, published_state, n_classes):
        network = load_published(with_classes(published_state, n_classes), "rfnet")
        assert network.n_classes == n_classes
        last = f"decoder_fuse.RFM1.modal_fusion.{n_classes - 1}.weight_layer.0.weight"
        loaded = network.fusions[0].weights.weight1[-1].detach()
        np.testing.assert_array_equal(loaded, published_state[last].reshape(loaded.shape))

    def test_kernels_of_two_dimensions_make_a_network_of_two(self, published_state):
        network = load_published(of_one_slice(published_state), "rfnet")
        assert network.spatial_dims == 2
        assert network(torch.rand(1, 4, 16, 24)).shape == (1, 4, 16, 24)

    def test_files_and_training_states(self, published_state, tmp_path):
        wrapped = {f"module.{name}": torch.from_numpy(value) for name, value in published_state.items()}
        training_state = {"epoch": 3, "state_dict": wrapped, "optim_dict": {"state": {}, "param_groups": [{"lr": 1.0}]}}
        torch.save(training_state, tmp_path / "last.pth")
        save_file(wrapped, tmp_path / "last.safetensors")
        expected = load_published(published_state, "rfnet").state_dict()
        for path in (tmp_path / "last.pth", str(tmp_path / "last.safetensors")):
            loaded = load_published(path, "rfnet").state_dict()
            assert all(torch.equal(loaded[name], value) for name, value in expected.items())

    def test_missing_and_left_over_parameters_are_named(self, published_state):
        state = dict(published_state)
        state["decoder_fuse.extra"] = state.pop("t1_encoder.e2_c1.conv.bias")
        with pytest.raises(
            ValueError, match=r"1 missing \(t1_encoder.e2_c1.conv.bias\); 1 left over \(decoder_fuse.ex"
        ):
            load_published(state, "rfnet")

    def test_a_missing_encoder_is_named(self, published_state):
        state = {name: value for name, value in published_state.items() if not name.startswith("flair_")}
        with pytest.raises(ValueError, match=r"24 missing \(flair_encoder.e1_c1.conv.weight"):
            load_published(state, "rfnet")

    def test_a_wrong_shape_is_named(self, published_state):
        state = dict(published_state)
        state["decoder_fuse.seg_layer.bias"] = np.zeros(5, dtype=np.float32)
        with pytest.raises(ValueError, match=r"1 of another shape \(decoder_fuse.seg_layer.bias \(5,\)\)"):
            load_published(state, "rfnet")

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({}, "flair_encoder.e1_c1.conv.weight is missing"),
            (
                {"a": torch.zeros(3, dtype=torch.int64)},
                "a: expected a tensor of floating-point numbers, got torch.int64",
            ),
            (
                {"flair_encoder.e1_c1.conv.weight": torch.zeros(0, 1)},
                r"e1_c1.conv.weight: expected the weight of a convolution in 2D or 3D, got shape \(0, 1\)",
            ),
            ({"a": "text"}, "a: expected a tensor of floating-point numbers, got str"),
        ],
    )
    def test_what_is_no_state_is_refused(self, state, message):
        with pytest.raises(ValueError, match=message):
            load_published(state, "rfnet")

    def test_an_unknown_backbone_is_refused_with_the_accepted_ones(self):
        with pytest.raises(ValueError, match="unknown backbone 'unet'; accepted: rfnet, mmformer, m2ftrans"):
            load_published({}, "unet")

    def test_an_absent_file_is_refused(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no weights at .*none.pth"):
            load_published(tmp_path / "none.pth", "rfnet")

    def test_a_file_that_would_execute_code_is_refused(self, tmp_path):
        path = tmp_path / "evil.pth"
        torch.save({"state_dict": Evil(tmp_path / "executed")}, path)
        with pytest.raises(ValueError, match="evil.pth holds more than weights and could be read only by executing it"):
            load_published(path, "rfnet")
        assert not (tmp_path / "executed").exists()


class Evil:
    """Would make a folder if it were unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def with_classes(state, n_classes):
    """A published state cut down to its first classes."""
    fewer = {}
    for name, value in state.items():
        if "modal_fusion" in name and int(name.split(".")[3]) >= n_classes:
            continue
        if name.endswith("fusion_layer.0.conv.weight"):
            value = value[:, : value.shape[1] * n_classes // 4]
        elif "prm_layer.1" in name or "seg_layer" in name:
            value = value[:n_classes]
        fewer[name] = value
    return fewer


def of_one_slice(state):
    """A published state turned into 2D: the middle slice of every kernel."""
    return {name: value[..., value.shape[-1] // 2] if value.ndim == 5 else value for name, value in state.items()}
