"""Sliding windows over volumes that have different modalities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch

from passion_components.backbones.base import Backbone, Features, PathOutput
from passion_components.inferers import ModalityAwareInferer

PUBLISHED = Path(__file__).parents[1] / "data" / "sliding_published.npz"
TWO_OF_THREE = torch.tensor([[True, True, False], [False, True, True]])


class LinearBackbone(Backbone):
    """Logits sum_m a[k, m] x_m + r[k] * position in the window + how many modalities there are."""

    def __init__(self, a: torch.Tensor, r: torch.Tensor, *, spatial_dims: int) -> None:
        super().__init__(
            n_modalities=a.shape[1], n_classes=a.shape[0], spatial_dims=spatial_dims, size_divisor=4, min_size=4
        )
        self.a, self.r = a, r
        self.encoded: list[tuple[int, int]] = []
        self.decoded: list[int] = []

    def encode_modality(self, index, image):
        self.encoded.append((index, len(image)))
        return (image * self.a[:, index].view(1, -1, *[1] * self.spatial_dims),)

    def decode_rows(self, features: Features) -> PathOutput:
        self.decoded.append(len(features.rows))
        (level,) = features.levels
        position = sum(
            (axis + 1) * grid
            for axis, grid in enumerate(torch.meshgrid(*map(torch.arange, level.shape[2:]), indexing="ij"))
        )
        logits = torch.stack(
            [
                level[rows[rows >= 0]].sum(0)
                + self.r.view(-1, *[1] * self.spatial_dims) * (position / 24 + (rows >= 0).sum() - len(rows))
                for rows in features.rows
            ]
        )
        return PathOutput(logits, [], logits)


@pytest.fixture
def network() -> LinearBackbone:
    generator = torch.Generator().manual_seed(1)
    a, r = torch.randn(4, 3, generator=generator), torch.randn(4, generator=generator)
    return LinearBackbone(a, r, spatial_dims=2)


@pytest.fixture
def image() -> torch.Tensor:
    """Two volumes; the first one lacks modality 2, the second one modality 0."""
    image = torch.randn(2, 3, 14, 11, generator=torch.Generator().manual_seed(2))
    return image * TWO_OF_THREE[:, :, None, None]


@pytest.fixture
def inferer() -> ModalityAwareInferer:
    return ModalityAwareInferer(roi_size=(8, 8), sw_batch_size=3)


class TestPresence:
    @pytest.mark.parametrize("sw_batch_size", [1, 3, 100])
    def test_a_batch_of_different_presence_equals_each_volume_alone(self, network, image, sw_batch_size):
        inferer = ModalityAwareInferer(roi_size=(8, 8), sw_batch_size=sw_batch_size)
        together = inferer(image, network, presence=TWO_OF_THREE)
        assert together.shape == (2, 4, 14, 11)
        for index in range(2):
            alone = inferer(image[index : index + 1], network, presence=TWO_OF_THREE[index : index + 1])
            torch.testing.assert_close(together[index], alone[0], rtol=0, atol=1e-6)

    def test_without_presence_a_channel_of_zeros_is_absent(self, network, image, inferer):
        assert torch.equal(inferer(image, network), inferer(image, network, presence=TWO_OF_THREE))

    def test_windows_of_background_do_not_change_presence(self, network, image, inferer):
        image[:, :, :, :9] = 0  # all windows that start at column 0 hold nothing but zeros
        inferer = ModalityAwareInferer(roi_size=(8, 8), sw_batch_size=6)
        seen = []

        def watched(windows, presence):
            seen.append(presence)
            return network(windows, presence)

        result = inferer(image[1:], watched)
        assert torch.equal(torch.cat(seen), TWO_OF_THREE[1:].expand(6, -1))
        assert torch.equal(result, inferer(image[1:], network, presence=TWO_OF_THREE[1:]))

    def test_a_volume_of_zeros_counts_as_complete(self, network, image, inferer):
        nothing = torch.zeros_like(image)
        assert torch.equal(inferer(nothing, network), inferer(nothing, network, presence=torch.ones(1, 3).bool()))

    def test_absent_channels_are_invisible(self, network, image, inferer):
        spoilt = torch.where(TWO_OF_THREE[:, :, None, None], image, torch.nan)
        result = inferer(spoilt, network, presence=TWO_OF_THREE)
        assert torch.equal(result, inferer(image, network, presence=TWO_OF_THREE))

    @pytest.mark.parametrize(
        ("presence", "message"),
        [
            ([[True, True]], r"shape \(2, 3\), got \(1, 2\)"),
            ([[True] * 3] * 3, r"shape \(2, 3\), got \(3, 3\)"),
            ([[True] * 3, [False] * 3], "volume 1 has no modality"),
        ],
    )
    def test_presence_that_does_not_fit_is_refused(self, network, image, inferer, presence, message):
        with pytest.raises(ValueError, match=message):
            inferer(image, network, presence=torch.tensor(presence))

    def test_unknown_arguments_are_refused(self, network, image, inferer):
        with pytest.raises(TypeError, match="condition"):
            inferer(image, network, condition=image)


class TestSubsets:
    subsets = torch.tensor([[False, True, False], [True, False, False], [True, True, False]])

    def test_together_they_equal_one_call_each(self, network, image, inferer):
        volume = image[:1]
        together = inferer(volume, network, presence=TWO_OF_THREE[:1], subsets=self.subsets)
        assert together.shape == (1, 3, 4, 14, 11)
        for index, subset in enumerate(self.subsets):
            alone = inferer(volume, network, presence=subset[None])
            torch.testing.assert_close(together[:, index], alone, rtol=0, atol=1e-6)

    def test_they_serve_every_volume_of_a_batch(self, network, image, inferer):
        result = inferer(image, network, subsets=self.subsets[:1])
        torch.testing.assert_close(result[:, 0], inferer(image, network, presence=self.subsets[:1]), rtol=0, atol=1e-6)

    def test_each_window_is_encoded_once_and_decoded_in_one_call(self, network, image, inferer):
        inferer(image[:1], network, presence=TWO_OF_THREE[:1], subsets=self.subsets)  # 3 x 2 windows, 3 a call
        assert network.encoded == [(0, 3), (1, 3)] * 2
        assert network.decoded == [9, 9]

    def test_large_windows_are_still_encoded_once_and_decoded_subset_by_subset(
        self, network, image, inferer, monkeypatch
    ):
        together = inferer(image[:1], network, presence=TWO_OF_THREE[:1], subsets=self.subsets)
        network.encoded.clear(), network.decoded.clear()
        monkeypatch.setattr("passion_components.inferers.modality_aware.VOXELS_PER_CALL", 8 * 8 * 3)
        one_by_one = inferer(image[:1], network, presence=TWO_OF_THREE[:1], subsets=self.subsets)
        assert network.encoded == [(0, 3), (1, 3)] * 2 and network.decoded == [3] * 6
        torch.testing.assert_close(one_by_one, together, rtol=0, atol=1e-6)

    def test_what_no_subset_names_is_not_encoded(self, network, image, inferer):
        inferer(image[:1], network, presence=TWO_OF_THREE[:1], subsets=self.subsets[1:2])
        assert {modality for modality, _ in network.encoded} == {0}

    @pytest.mark.parametrize(
        ("subsets", "message"),
        [
            ([[True, False, False], [False, False, True]], "subset 1 names a modality that volume 0 does not have"),
            ([[False, False, False]], "subset 0 has no modality"),
            ([[True, False]], r"shape \(n, 3\), n at least 1, got \(1, 2\)"),
        ],
    )
    def test_subsets_that_do_not_fit_are_refused(self, network, image, inferer, subsets, message):
        with pytest.raises(ValueError, match=message):
            inferer(image[:1], network, presence=TWO_OF_THREE[:1], subsets=torch.tensor(subsets))

    def test_a_plain_function_cannot_serve_subsets(self, image, inferer):
        with pytest.raises(TypeError, match="subsets need a Backbone"):
            inferer(image, lambda windows, presence: windows, subsets=self.subsets)


class TestSlices:
    """Windows of two dimensions on volumes of three."""

    @pytest.fixture
    def volume(self) -> torch.Tensor:
        return torch.randn(1, 3, 14, 11, 5, generator=torch.Generator().manual_seed(3))

    @pytest.mark.parametrize("sw_batch_size", [1, 7, 100])
    def test_a_volume_equals_its_slices_one_by_one(self, network, volume, sw_batch_size):
        inferer = ModalityAwareInferer(roi_size=[8, 8], sw_batch_size=sw_batch_size)
        for subsets in (None, TestSubsets.subsets):
            together = inferer(volume, network, subsets=subsets)
            alone = torch.stack([inferer(piece, network, subsets=subsets) for piece in volume.unbind(-1)], -1)
            torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)

    def test_presence_belongs_to_the_volume(self, network, volume, inferer):
        volume[:, 0, :, :, 2] = 0
        expected = inferer(volume[..., 2], network, presence=torch.ones(1, 3).bool())
        torch.testing.assert_close(inferer(volume, network)[..., 2], expected, rtol=0, atol=1e-6)

    def test_windows_of_several_slices_share_a_call(self, network, volume):
        ModalityAwareInferer(roi_size=(16, 12), sw_batch_size=5)(volume, network)
        assert network.decoded == [5]


class TestFittedWindows:
    @pytest.fixture
    def inferer(self) -> ModalityAwareInferer:
        return ModalityAwareInferer(roi_size=(8, 8), windows="fitted")

    def test_an_image_that_nearly_fits_is_predicted_whole(self, network, image, inferer):
        volume, presence = image[:1, :, :10], TWO_OF_THREE[:1]  # 10 x 11 voxels
        whole = torch.nn.functional.pad(volume, (0, 1, 1, 1), mode="replicate")
        expected = network(whole, presence).softmax(1)[:, :, 1:11, :11]
        network.decoded.clear()
        assert torch.equal(inferer(volume, network, presence=presence), expected)
        assert network.decoded == [1]

    def test_of_an_image_that_is_as_large_as_a_window_nothing_changes(self, network, image, inferer):
        published = ModalityAwareInferer(roi_size=(8, 8))
        assert torch.equal(inferer(image[..., :8, :8], network), published(image[..., :8, :8], network))

    def test_subsets_see_the_same_windows(self, network, image, inferer):
        together = inferer(image[:1], network, subsets=TestSubsets.subsets)
        for index, subset in enumerate(TestSubsets.subsets):
            alone = inferer(image[:1], network, presence=subset[None])
            torch.testing.assert_close(together[:, index], alone, rtol=0, atol=1e-6)

    def test_those_of_slices_alone_are_published_ones_for_whole_images(self, network, image):
        def predicted(windows, volume):
            return ModalityAwareInferer(roi_size=(8, 8), windows=windows)(volume, network)

        assert torch.equal(predicted("fitted_slices", image), predicted("published", image))
        volume = image[..., None]
        assert torch.equal(predicted("fitted_slices", volume), predicted("fitted", volume))
        assert not torch.equal(predicted("fitted", volume), predicted("published", volume))

    def test_a_plain_function_does_not_say_what_it_takes(self, image, inferer):
        with pytest.raises(TypeError, match="fitted windows need a Backbone, got function"):
            inferer(image, lambda windows, presence: windows)


class TestBlending:
    def test_probabilities_add_up_to_one(self, network, image, inferer):
        torch.testing.assert_close(inferer(image, network).sum(1), torch.ones(2, 14, 11))

    def test_a_volume_smaller_than_a_window_is_padded_and_cropped_back(self, network, image):
        small = image[:1, :, :5, :6]
        padded = torch.nn.functional.pad(small, (1, 1, 1, 2))
        presence = TWO_OF_THREE[:1]
        result = ModalityAwareInferer(roi_size=(8, 8))(small, network, presence=presence)
        assert torch.equal(result, network(padded, presence).softmax(1)[:, :, 1:6, 1:7])

    def test_meta_data_of_the_input_stay(self, network, image, inferer):
        affine = torch.diag(torch.tensor([2.0, 3.0, 1.0, 1.0]))
        meta = MetaTensor(image[:1], affine=affine[None], meta={"filename_or_obj": ["scan.nii.gz"]})
        meta.is_batch = True
        for subsets in (None, TestSubsets.subsets):
            (item,) = decollate_batch(inferer(meta, network, subsets=subsets))
            assert torch.equal(item.affine, affine.double())
            assert item.meta["filename_or_obj"] == "scan.nii.gz"

    def test_double_precision_stays(self, network, image, inferer):
        meta = MetaTensor(image.double())
        assert inferer(meta, network).dtype == torch.float64

    @pytest.mark.parametrize("sw_batch_size", [1, 4])
    def test_average_equals_the_published_one(self, sw_batch_size):
        data = {key: torch.from_numpy(np.atleast_1d(value)) for key, value in np.load(PUBLISHED).items()}
        n_modalities = data["a"].shape[1]
        network = LinearBackbone(data["a"], data["r"], spatial_dims=3)
        # The published predictor has no term for how many modalities there are.
        offset = (n_modalities - data["mask"].sum()) * data["r"].view(1, -1, 1, 1, 1)
        inferer = ModalityAwareInferer(roi_size=int(data["patch"]), sw_batch_size=sw_batch_size)
        result = inferer(
            data["x"].double(),
            lambda windows, presence: network(windows, presence) + offset,
            presence=data["mask"][None],
        )
        torch.testing.assert_close(result.float(), data["avg_prob"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sw_batch_size": 0}, "sw_batch_size must be at least 1, got 0"),
        ({"overlap": 1.0}, r"in \[0, 1\), got 1.0"),
        ({"overlap": [0.25, 0.5]}, r"overlap must be one number in \[0, 1\), got \[0.25, 0.5\]"),
        ({"overlap": "half"}, r"in \[0, 1\), got half"),
        ({"windows": "whole"}, "windows must be one of published, fitted, fitted_slices, got 'whole'"),
        ({"mode": "mean"}, "blending must be one of constant, gaussian, got 'mean'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ModalityAwareInferer(roi_size=8, **arguments)
