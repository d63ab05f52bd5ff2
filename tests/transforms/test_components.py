import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from passion_components.transforms.components import RemoveSmallComponentsd


def blobs(*sizes: int) -> torch.Tensor:
    """A map (1, 5, 120, 2) with bars of these lengths and values 1, 2, ..., a row of background between them."""
    made = torch.zeros(1, 5, 120, 2, dtype=torch.uint8)
    for index, size in enumerate(sizes):
        made[0, 2 * index, :size, 0] = index + 1
    return made


def cleaned(maps: torch.Tensor, share: float) -> torch.Tensor:
    return RemoveSmallComponentsd("pred", min_share=share)({"pred": maps})["pred"]


@pytest.mark.parametrize(
    ("sizes", "share", "left"),
    [
        ((10, 2), 0.1, (10, 2)),
        ((10, 2), 0.2, (10, 2)),
        ((10, 2), 0.3, (10,)),
        ((100, 7), 0.07, (100, 7)),  # 0.07 * 100 is more than 7 in floating point
        ((100, 6), 0.07, (100,)),
        ((10, 10, 9), 1.0, (10, 10)),
        ((10, 2), 0.0, (10, 2)),
        ((), 0.3, ()),
    ],
)
def test_what_has_fewer_voxels_than_the_share_becomes_background(sizes, share, left):
    maps = blobs(*sizes)
    found = cleaned(maps, share)
    assert found.dtype == torch.uint8 and torch.equal(found, blobs(*left))
    assert torch.equal(maps, blobs(*sizes))


def test_a_touch_by_a_corner_connects_also_across_slices():
    maps = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    maps[0, 0:2, 0, 0] = 1
    maps[0, 2, 1, 1] = 1
    maps[0, 3, 3, 3] = 1
    found = cleaned(maps, 1.0)
    assert found[0, 2, 1, 1] == 1 and found[0, 3, 3, 3] == 0 and found.sum() == 3


def test_classes_that_touch_are_one_component_and_stay_what_they_are():
    maps = torch.zeros(1, 4, 8, 1, dtype=torch.uint8)
    maps[0, 0, :5], maps[0, 0, 5] = 1, 3
    maps[0, 2, :4] = 2
    found = cleaned(maps, 0.7)
    assert torch.equal(found[0, 0], maps[0, 0]) and found[0, 2].sum() == 0


def test_each_of_several_maps_is_compared_with_its_own_largest():
    maps = torch.cat([blobs(10, 2), blobs(2), blobs(), blobs(100, 10)])
    assert torch.equal(cleaned(maps, 0.3), torch.cat([cleaned(one[None], 0.3) for one in maps]))
    assert torch.equal(cleaned(maps, 0.3)[1:2], blobs(2))


def test_without_a_share_nothing_is_done():
    maps = blobs(10, 2)
    assert cleaned(maps, 0.0) is maps


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), "0.3", True, None])
def test_no_share_is_refused(share):
    with pytest.raises(ValueError, match="expected a number from 0 .* to 1 .*, got"):
        RemoveSmallComponentsd("pred", min_share=share)


def test_the_affine_of_a_meta_tensor_stays_and_arrays_are_taken():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    found = cleaned(MetaTensor(blobs(10, 2), affine=affine), 0.3)
    assert torch.equal(found.affine, affine) and torch.equal(found.as_tensor(), blobs(10))
    array = cleaned(blobs(10, 2).numpy(), 0.3)
    assert isinstance(array, np.ndarray) and (array == blobs(10).numpy()).all()
