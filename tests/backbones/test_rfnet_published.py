"""RFNet and its loader against arrays that the published implementation computed."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from passion_components.backbones.base import MultiPath
from passion_components.backbones.published_weights import load_published

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "logit_tolerance", "probability_tolerance"), [(np.float64, 1e-5, 1e-5), (np.float32, 1e-3, 2e-4)]
)


def close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def of_dtype(image, network):
    return image.to(next(network.parameters()).dtype)


@PRECISIONS
class TestPublishedOutputs:
    @torch.no_grad()
    def test_all_subsets_of_one_encoding(
        self, published, published_rfnet, published_image, sampled, dtype, logit_tolerance, probability_tolerance
    ):
        network = published_rfnet(dtype)
        features = network.encode(of_dtype(published_image[:1], network), torch.ones(1, 4, dtype=torch.bool))
        subsets = torch.from_numpy(published["infer/mask"])
        output = network.decode(features.select(torch.zeros(15, dtype=torch.long)), subsets)
        close(sampled(output.logits), published["infer/logits"], logit_tolerance)
        close(
            sampled(output.logits.softmax(1)),
            torch.from_numpy(published["infer/logits"]).softmax(1),
            probability_tolerance,
        )
        complete = int(subsets.all(1).nonzero())
        close(sampled(output.embedding[complete]), published["full/feat1"], logit_tolerance)
        assert [scale for _, scale in output.deep] == [1, 2, 4, 8]
        for number, (deep, _) in enumerate(output.deep, start=1):
            close(sampled(deep[complete]), published[f"full/deep{number}"], logit_tolerance)
        every_voxel = output.logits[complete].flatten(1)
        close(every_voxel.mean(1), published["full/logits_mean"], logit_tolerance)
        close(every_voxel.std(1), published["full/logits_std"], logit_tolerance)

    @torch.no_grad()
    def test_a_batch_of_different_subsets(
        self, published, published_rfnet, published_image, sampled, dtype, logit_tolerance, probability_tolerance
    ):
        network = published_rfnet(dtype)
        presence = torch.from_numpy(published["batch/mask"])
        logits = network(of_dtype(published_image, network), presence)
        close(sampled(logits), published["batch/logits"], logit_tolerance)

    @torch.no_grad()
    def test_every_path_of_a_training_batch(
        self, published, published_rfnet, published_image, sampled, dtype, logit_tolerance, probability_tolerance
    ):
        network = published_rfnet(dtype)
        presence = torch.from_numpy(published["trainB/mask"])
        output = MultiPath(network)(of_dtype(published_image, network), presence)
        close(sampled(output.fused.logits, training=True), published["trainB/teacher/logits"], logit_tolerance)
        close(sampled(output.fused.embedding, training=True), published["trainB/teacher/feat1"], logit_tolerance)
        assert len(output.sample_index) == 6
        for pair, (sample, modality) in enumerate(
            zip(output.sample_index.tolist(), output.modality_index.tolist(), strict=True)
        ):
            student = f"trainB/student{modality}"
            unimodal = output.unimodal
            for actual, name in (
                (unimodal.logits, "logits"),
                (unimodal.embedding, "feat1"),
                (unimodal.deep[0][0], "deep1"),
            ):
                close(sampled(actual[pair], training=True), published[f"{student}/{name}"][sample], logit_tolerance)
            separate = sampled(output.separate_logits[pair].softmax(0), training=True)
            close(separate, published[f"trainB/sep_prob{modality}"][sample], probability_tolerance)

    @torch.no_grad()
    def test_encoder_and_region_fusion_inside(
        self, published, published_rfnet, published_image, sampled, dtype, logit_tolerance, probability_tolerance
    ):
        network = published_rfnet(dtype)
        presence = torch.from_numpy(published["tap/mask"])
        fused = {}
        for level in (0, 3):
            network.fusions[level].register_forward_hook(
                lambda _module, _inputs, halves, level=level: fused.update({level: torch.cat(halves[1:], 1)})
            )
        features = network.encode(of_dtype(published_image[:1], network), presence)
        network.decode(features, presence)
        for number, level in enumerate(features.levels, start=1):
            close(sampled(level[0]), published[f"tap/enc_flair_x{number}"], logit_tolerance)
        close(sampled(fused[3][0]), published["tap/rfm4"], logit_tolerance)
        close(sampled(fused[0][0]), published["tap/rfm1"], logit_tolerance)


class TestLoading:
    def test_sizes_follow_from_the_shapes(self, published_state):
        network = load_published(published_state, "rfnet")
        assert (network.n_modalities, network.n_classes, network.spatial_dims) == (4, 4, 3)
        assert network.encoders[0].levels[0][0].conv.out_channels == 4 and network.separate is not None
        assert not network.training and next(network.parameters()).dtype == torch.float32

    def test_float64_stays_float64(self, published_rfnet):
        assert all(p.dtype == torch.float64 for p in published_rfnet(np.float64).parameters())

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
        with pytest.raises(ValueError, match="unknown backbone 'unet'; accepted: rfnet"):
            load_published({}, "unet")

    def test_an_absent_file_is_refused(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no weights at .*none.pth"):
            load_published(tmp_path / "none.pth", "rfnet")

    def test_a_file_that_would_execute_code_is_refused(self, tmp_path):
        path = tmp_path / "evil.pth"
        torch.save({"state_dict": Evil(tmp_path / "executed")}, path)
        with pytest.raises(ValueError, match="evil.pth is no weight file that can be read without executing it"):
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
