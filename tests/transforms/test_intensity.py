import pytest
import torch

from passion_components.transforms.intensity import RandIntensityd


def changed(image, **settings):
    settings = {"scale": 0.1, "shift": 0.1} | settings
    return RandIntensityd("image", **settings).set_random_state(0)({"image": image})["image"]


def lines(image):
    """Slope and offset of every slice along the first spatial axis, (2, channels, slices), of 0 and 1 in each."""
    low, high = image.flatten(2)[..., 0], image.flatten(2)[..., 1]
    return torch.stack([high - low, low])


@pytest.fixture
def image():
    """(2, 5, 1, 2): 0 and 1 in every slice."""
    return torch.tensor([0.0, 1.0]).expand(2, 5, 1, 2).clone()


class TestChanges:
    def test_one_slope_and_offset_for_a_channel(self, image):
        found = lines(changed(image))
        assert torch.equal(found, found[..., :1].expand(-1, -1, 5)) and not torch.equal(found[:, 0], found[:, 1])

    def test_integers_are_not_rounded(self, image):
        found = changed(image.to(torch.int16))
        assert found.dtype == torch.float32 and torch.equal(found, changed(image))

    def test_per_slice_every_slice_has_its_own(self, image):
        assert len(lines(changed(image, per_slice=True))[0].unique()) == 10

    def test_an_image_of_two_dimensions_is_one_slice(self, image):
        flat = image[:, 0]
        assert torch.equal(changed(flat, per_slice=True), changed(flat))

    def test_stay_in_their_ranges_and_reach_far_into_them(self, image):
        slope, offset = lines(changed(torch.tensor([0.0, 1.0]).expand(2, 500, 1, 2), scale=0.2, per_slice=True))
        assert 0.8 <= slope.min() < 0.82 and 1.18 < slope.max() <= 1.2
        assert -0.1 <= offset.min() < -0.09 and 0.09 < offset.max() <= 0.1

    def test_leave_type_and_input_alone(self, image):
        before = image.clone()
        assert changed(image).dtype == torch.float32 and torch.equal(image, before)


@pytest.mark.parametrize("settings", [{"scale": -0.1}, {"shift": -1}])
def test_negative_ranges_are_refused(image, settings):
    with pytest.raises(ValueError, match="must not be negative"):
        changed(image, **settings)
