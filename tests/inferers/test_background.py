"""Windows of nothing but background are computed once, with the same result to the last bit."""

import pytest
import torch

from passion_components.backbones.rfnet import RFNet
from passion_components.inferers import ModalityAwareInferer, modality_aware
from passion_components.inferers.background import BackgroundOnce

BACKGROUND = torch.tensor([-2.0, 0.0]).view(1, 2, 1, 1).expand(3, 2, 4, 4)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def predict(calls):
    """A predictor that never gives the same answer twice."""

    def predictor(windows):
        calls.append(windows)
        return windows + len(calls)

    return BackgroundOnce(predictor)


def test_the_same_background_is_computed_once_and_what_is_done_to_an_answer_is_not_seen_in_the_next(predict, calls):
    predict(BACKGROUND).mul_(0)
    assert torch.equal(predict(BACKGROUND.clone()), BACKGROUND + 1)
    assert len(calls) == 1


def test_whatever_differs_is_computed(predict, calls):
    spot = BACKGROUND.clone()
    spot[2, 1, 3, 3] = 1e-6
    for windows in (BACKGROUND, BACKGROUND - 1, BACKGROUND[:2], spot, spot):
        number = len(calls) + 1
        assert torch.equal(predict(windows), windows + number)


@pytest.mark.parametrize("subsets", [None, torch.tensor([[True, False], [True, True]])])
def test_not_a_bit_of_a_prediction_changes(subsets, monkeypatch, calls):
    torch.manual_seed(0)
    network = RFNet(n_modalities=2, n_classes=3, spatial_dims=2, width=4).eval()
    volume = torch.randn(1, 2, 32, 16, 12)
    volume[..., :5], volume[..., 7:] = -1.5, -1.5
    inferer = ModalityAwareInferer(roi_size=[16, 16], sw_batch_size=2)

    def counted(predictor):
        return BackgroundOnce(lambda windows: calls.append(windows) or predictor(windows))

    with torch.no_grad():
        monkeypatch.setattr(modality_aware, "BackgroundOnce", counted)
        once = inferer(volume, network, subsets=subsets)
        monkeypatch.setattr(modality_aware, "BackgroundOnce", lambda predictor: predictor)
        assert torch.equal(inferer(volume, network, subsets=subsets), once)
    assert len(calls) == 1 + 4  # 18 calls, of which 4 hold something of the two slices
