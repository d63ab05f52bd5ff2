import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialPad

from passion_components.transforms.normalise import NormalizeModalitiesd
from passion_components.transforms.pad import PadModalitiesd
from passion_components.transforms.restore import restore_label_map


@pytest.fixture
def item():
    """(3, 6, 7, 4): two channels with their own backgrounds around bright boxes, one absent."""
    image = torch.zeros(3, 6, 7, 4)
    image[0], image[2] = -1024, 40
    image[:, 2:4, 2:5] += torch.rand(3, 2, 3, 4, generator=torch.Generator().manual_seed(0)) * 50 + 100
    image[1] = float("nan")
    return {"image": MetaTensor(image), "presence": torch.tensor([True, False, True]), "target": torch.ones(1, 6, 7, 4)}


def padded(item, rule="above_background"):
    return PadModalitiesd(spatial_size=[12, 12, -1], foreground=rule)(item)


class TestPadModalities:
    def test_each_present_channel_is_padded_with_its_own_background(self, item):
        image = padded(item)["image"]
        assert image.shape == (3, 12, 12, 4)
        assert (image[0, :3] == -1024).all() and (image[2, :, -2:] == 40).all() and (image[1, :3] == 0).all()
        assert torch.equal(image[2, 3:9, 2:9].as_tensor(), item["image"][2].as_tensor())

    def test_where_foreground_is_not_zero_it_is_padded_with_zeros(self, item):
        image = padded(item, "nonzero")["image"]
        expected = SpatialPad([12, 12, -1])(item["image"])
        assert torch.equal(image.as_tensor().nan_to_num(7), expected.as_tensor().nan_to_num(7))

    def test_labels_are_padded_with_background(self, item):
        target = padded(item)["target"]
        assert target.shape == (1, 12, 12, 4) and target.sum() == 6 * 7 * 4

    def test_what_is_large_enough_stays(self, item):
        out = PadModalitiesd(spatial_size=[6, 7, 4], foreground="above_background")(item)["image"]
        assert torch.equal(out[[0, 2]].as_tensor(), item["image"][[0, 2]].as_tensor())

    @pytest.mark.parametrize(("gain", "offset"), [(1, 1024), (1, -1024), (0.01, -1), (3, 0)])
    def test_the_normalised_image_does_not_depend_on_gain_and_offset(self, item, gain, offset):
        def normalised(image):
            out = padded({**item, "image": image})
            return NormalizeModalitiesd(foreground="above_background")(out)["image"].as_tensor()

        assert torch.allclose(normalised(gain * item["image"] + offset), normalised(item["image"]), atol=1e-3)

    def test_it_is_undone_on_predictions(self, item):
        image = padded(item)["image"]
        classes = torch.zeros(2, 12, 12, 4)
        classes[0], classes[1, 3:5] = 0.5, 1
        restored = restore_label_map(classes, image)
        assert restored.shape == (6, 7, 4) and restored[:2].all() and not restored[2:].any()

    def test_an_unknown_rule_is_refused(self):
        with pytest.raises(ValueError, match="unknown foreground rule"):
            PadModalitiesd(spatial_size=[1], foreground="none")
