"""Windows predicted mirrored as well: what the average is, and what it costs."""

from __future__ import annotations

import pytest
import torch

from passion_components.backbones.rfnet import RFNet
from passion_components.inferers import ModalityAwareInferer
from passion_components.inferers.mirrors import mirrored

SUBSETS = torch.tensor([[True, True], [True, False], [False, True]])


def ramp(windows):
    """Which voxel of the window it is, 10 row + column, whatever the windows show."""
    rows, columns = torch.meshgrid(torch.arange(2.0), torch.arange(3.0), indexing="ij")
    return (10 * rows + columns).expand(len(windows), 1, 2, 3)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ((), [[0, 1, 2], [10, 11, 12]]),
        ((0,), [[5, 6, 7], [5, 6, 7]]),
        ((1,), [[1, 1, 1], [11, 11, 11]]),
        ((0, 1), [[6, 6, 6], [6, 6, 6]]),
    ],
)
def test_the_average_is_over_all_mirror_images_each_mirrored_back(axes, expected):
    found = mirrored(ramp, axes)(torch.zeros(4, 1, 2, 3))
    assert torch.equal(found, torch.tensor(expected, dtype=torch.float32).expand(4, 1, 2, 3))


@pytest.mark.parametrize("axes", [(), (1,), (0, 2), (0, 1, 2)])
def test_an_axis_doubles_the_calls_and_what_is_symmetric_stays(axes):
    shown = []

    def predictor(windows):
        shown.append(windows)
        return 2 * windows

    windows = torch.rand(2, 3, 4, 5, 6)
    torch.testing.assert_close(mirrored(predictor, axes)(windows), 2 * windows)
    assert len(shown) == 2 ** len(axes)
    assert all(not torch.equal(one, other) for at, one in enumerate(shown) for other in shown[:at])


@pytest.mark.parametrize(("size", "roi", "axes"), [((16, 32), (16, 16), [1, 0]), ((16, 16, 5), (16, 16), [1])])
def test_a_mirrored_volume_gives_the_mirrored_prediction(size, roi, axes):
    torch.manual_seed(0)
    network = RFNet(n_modalities=2, n_classes=2, spatial_dims=2, width=4).eval()
    inferer = ModalityAwareInferer(roi_size=roi, mirror_axes=axes)
    image, dims = torch.randn(1, 2, *size), [axis + 2 for axis in axes]
    with torch.inference_mode():
        found = inferer(image, network, subsets=SUBSETS)
        of_mirrored = inferer(image.flip(dims), network, subsets=SUBSETS)
        torch.testing.assert_close(of_mirrored.flip([axis + 1 for axis in dims]), found, rtol=0, atol=1e-5)
        assert not torch.allclose(found, ModalityAwareInferer(roi_size=roi)(image, network, subsets=SUBSETS), atol=1e-4)
        for index, subset in enumerate(SUBSETS):
            alone = inferer(image, network, presence=subset[None])
            torch.testing.assert_close(found[:, index], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("axes", [[2], [-1], [0, 0], ["x"], "0", 0, None, [0.5]])
def test_other_axes_are_refused(axes):
    with pytest.raises(ValueError, match="mirror_axes must be a list of different axes from 0 to 1, or empty, got "):
        ModalityAwareInferer(roi_size=(16, 16), mirror_axes=axes)
