import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandSpatialCropd

from passion_components.transforms.slices import RandSlicesd, WarnUnlessAxiald


@pytest.fixture
def volume() -> dict:
    """Ten slices that are numbered in the image; slices 2, 5 and 6 hold something of the target."""
    target = torch.zeros(1, 4, 6, 10, dtype=torch.uint8)
    target[0, 1, 3, [2, 5, 6]] = 1
    return {"case": "a", "image": torch.arange(10.0).expand(2, 4, 6, 10), "target": target, "presence": torch.ones(2)}


def drawn(volume, *, num_slices, target_share, seed=0) -> list[int]:
    transform = RandSlicesd(["image", "target"], num_slices=num_slices, target_share=target_share)
    return [int(item["image"][0, 0, 0]) for item in transform.set_random_state(seed)(volume)]


class TestRandSlices:
    @pytest.mark.parametrize(("share", "with_target"), [(0.0, 0), (0.5, 2), (0.75, 3)])
    def test_draws_the_share_of_slices_with_target(self, volume, share, with_target):
        for seed in range(20):
            slices = drawn(volume, num_slices=4, target_share=share, seed=seed)
            assert sum(index in (2, 5, 6) for index in slices) == with_target
            assert len(set(slices)) == 4

    def test_reaches_every_slice(self, volume):
        seen = {index for seed in range(60) for index in drawn(volume, num_slices=2, target_share=0.5, seed=seed)}
        assert seen == set(range(10))

    def test_repeats_only_after_all_of_a_kind_were_drawn(self, volume):
        slices = drawn(volume, num_slices=7, target_share=1.0)
        assert sorted(np.bincount(slices)[[2, 5, 6]]) == [2, 2, 3]

    @pytest.mark.parametrize("value", [0, 1])
    def test_where_a_kind_is_missing_the_other_fills_in(self, volume, value):
        volume["target"] = torch.full_like(volume["target"], value)
        assert len(set(drawn(volume, num_slices=4, target_share=0.5))) == 4

    def test_a_volume_of_one_slice(self, volume):
        one = volume | {key: volume[key][..., 5:6] for key in ("image", "target")}
        assert drawn(one, num_slices=3, target_share=0.5) == [5, 5, 5]

    def test_image_and_target_are_cut_alike_and_the_rest_is_handed_on(self, volume):
        transform = RandSlicesd(["image", "target"], num_slices=4, target_share=0.5).set_random_state(1)
        for item in transform(volume):
            index = int(item["image"][0, 0, 0])
            assert torch.equal(item["image"], volume["image"][..., index])
            assert torch.equal(item["target"], volume["target"][..., index])
            assert item["case"] == "a" and item["presence"] is volume["presence"]

    def test_further_transforms_see_every_slice_alone(self, volume):
        crop = RandSpatialCropd(["image", "target"], roi_size=(4, 4), random_size=False)
        items = Compose([RandSlicesd(["image", "target"], num_slices=3, target_share=0.5), crop])(volume)
        assert [item["image"].shape for item in items] == [(2, 4, 4)] * 3

    @pytest.mark.parametrize(("num_slices", "share"), [(0, 0.5), (4, 1.5), (4, -0.1)])
    def test_impossible_wishes_are_refused(self, num_slices, share):
        with pytest.raises(ValueError, match="at least 1 slice and a share"):
            RandSlicesd("image", num_slices=num_slices, target_share=share)


class TestWarnUnlessAxial:
    @pytest.mark.parametrize(
        ("spacing", "plane"), [((5.0, 1.0, 1.0), "sagittal"), ((1.0, 5.0, 1.0), "coronal"), ((1.0, 1.0, 5.0), None)]
    )
    def test_names_the_plane_of_acquisition(self, caplog, spacing, plane):
        image = MetaTensor(torch.zeros(1, 2, 2, 2), affine=torch.diag(torch.tensor([*spacing, 1.0])))
        WarnUnlessAxiald()({"case": "a", "image": image})
        assert [f"{plane} slices, 5.00 mm apart" in message for message in caplog.messages] == [True] * bool(plane)
