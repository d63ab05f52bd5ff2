import pytest
import torch
from monai.data import MetaTensor

from passion_components.data.errors import CaseError
from passion_components.transforms.normalise import NormalizeModalitiesd, ZeroAbsentd

PRESENCE = torch.tensor([True, False, True])


@pytest.fixture
def image() -> torch.Tensor:
    """(3, 4, 4, 4): foregrounds of two present channels differ; noise stands in the absent one."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 4, 4, 4, generator=generator) * 20 + 5
    image[0, :2] = 0
    image[2, :, :1] = 0
    return image


def normalised(image: torch.Tensor, presence: torch.Tensor = PRESENCE) -> torch.Tensor:
    return NormalizeModalitiesd()({"image": image, "presence": presence})["image"]


class TestNormalizeModalities:
    def test_the_values_are_z_scores_of_the_foreground(self):
        image = torch.tensor([[[0.0, 1.0], [3.0, 0.0]]])
        assert torch.allclose(normalised(image, torch.tensor([True])), torch.tensor([[[-2.0, -1.0], [1.0, -2.0]]]))

    def test_integers_are_not_rounded(self):
        image = torch.tensor([[[0, 1], [2, 4]]], dtype=torch.int16)
        found, expected = normalised(image, torch.tensor([True])), normalised(image.float(), torch.tensor([True]))
        assert found.dtype == torch.float32 and torch.equal(found, expected)

    def test_each_channel_uses_its_own_foreground(self, image):
        out = normalised(image)
        for index in (0, 2):
            inside = out[index][image[index] != 0].double()
            assert abs(inside.mean()) < 1e-6 and abs(inside.std(correction=0) - 1) < 1e-6

    def test_the_background_of_a_present_channel_is_one_negative_constant(self, image):
        image[0] = image[0].abs()
        background = normalised(image)[0][image[0] == 0]
        assert len(background) and background[0] < 0 and (background == background[0]).all()

    @pytest.mark.parametrize("noise", [7.0, float("nan"), float("inf")])
    def test_an_absent_channel_is_exactly_zero_whatever_stood_in_it(self, image, noise):
        image[1] = noise
        assert (normalised(image)[1] == 0).all()

    def test_a_present_channel_does_not_depend_on_the_others(self, image):
        alone = normalised(image, torch.tensor([True, False, False]))
        assert torch.equal(alone[0], normalised(image)[0]) and (alone[2] == 0).all()

    def test_gain_and_offset_of_the_foreground_do_not_matter(self, image):
        scaled = torch.where(image != 0, 3.5 * image + 1000, 0)
        inside = (image != 0) & PRESENCE[:, None, None, None]
        assert torch.allclose(normalised(scaled)[inside], normalised(image)[inside], atol=1e-4)

    def test_large_offsets_do_not_cost_accuracy(self):
        image = torch.arange(1.0, 4097.0).view(1, 16, 16, 16) / 8 + 2**20  # the mean is no float32
        out = normalised(image, torch.tensor([True]))[0].double()
        assert abs(out.mean()) < 1e-6 and abs(out.std(correction=0) - 1) < 1e-6

    def test_the_input_is_left_alone_and_its_record_is_kept(self, image):
        meta = MetaTensor(image, affine=2 * torch.eye(4), applied_operations=[{"class": "Flip"}])
        before = image.clone()
        out = normalised(meta)
        assert torch.equal(meta.as_tensor(), before)
        assert out.applied_operations == [{"class": "Flip"}] and out.affine[0, 0] == 2

    def test_it_works_on_slices(self, image):
        assert torch.equal(normalised(image[..., 0])[1], torch.zeros(4, 4))

    @pytest.mark.parametrize("value", [0.0, 5.0])
    def test_a_present_channel_without_contrast_is_refused_by_name(self, image, value):
        image[2] = value
        with pytest.raises(CaseError, match="P1: channel 2 of 'image' has no contrast"):
            NormalizeModalitiesd()({"case": "P1", "image": image, "presence": PRESENCE})


class TestZeroAbsent:
    def test_absent_channels_are_zeroed_and_present_ones_untouched(self, image):
        image[1, 0, 0, 0] = float("nan")
        before = image.clone()
        out = ZeroAbsentd()({"image": image, "presence": PRESENCE})["image"]
        assert (out[1] == 0).all() and torch.equal(out[[0, 2]], before[[0, 2]])
        assert torch.equal(image[[0, 2]], before[[0, 2]]) and image[1].any()

    def test_it_works_on_slices_and_several_keys(self):
        data = {"a": torch.ones(3, 2, 2), "b": torch.ones(3, 2), "presence": PRESENCE}
        out = ZeroAbsentd(["a", "b"])(data)
        assert out["a"].sum((1, 2)).tolist() == [4, 0, 4] and out["b"].sum(1).tolist() == [2, 0, 2]
