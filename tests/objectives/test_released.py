"""The released code's objective and rule for beta, against arrays that the released code computed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from passion_components.backbones import published_weights
from passion_components.backbones.base import MultiPath, MultiPathOutput
from passion_components.objectives.released import ReleasedObjective
from passion_components.preference import ReleasedPreference

MODALITIES = ("flair", "t1ce", "t1", "t2")
SCHEDULE = Path(__file__).parents[1] / "data" / "schedule_published.npz"
T2 = 3


def preference(beta=None, size_weight=None):
    made = ReleasedPreference(modalities=MODALITIES, missing_rates=dict.fromkeys(MODALITIES, 0.0))
    if beta is not None:
        made.beta, made.size_weight = beta.double(), size_weight.double()
    return made


def training_case(published, name, case):
    """Loss terms, output and gradient of every published parameter that is no stack of several."""
    expected = published(name)
    network = expected.network(np.float64)
    mask = torch.from_numpy(expected[f"train{case}/mask"])
    complete = case == "C"  # perfect data training: all is seen, the mask is that of the fused path, sizes are equal
    presence = torch.ones_like(mask) if complete else mask
    weight = torch.from_numpy(expected[f"train{case}/modal_weight"])
    objective = ReleasedObjective(
        preference=preference(
            torch.from_numpy(expected[f"train{case}/beta"]), torch.ones_like(weight) if complete else weight
        )
    )
    target = torch.from_numpy(expected[f"train{case}/label"])[:, None].long()
    output = MultiPath(network)(expected.image(np.float64)[: len(mask)], presence, mask)
    terms = objective(output, target, presence)
    terms["loss"].backward()
    state = {key: torch.from_numpy(value) for key, value in expected.state.items()}
    names = published_weights._LOADERS[name](state, 4)[1]
    parameters = dict(network.named_parameters())
    gradients = {
        theirs: 0.0 if parameters[ours].grad is None else parameters[ours].grad.norm().item()
        for ours, theirs in names.items()
        if isinstance(theirs, str)
    }
    return terms, output, gradients


@pytest.mark.parametrize(("name", "case"), [(n, c) for n in ("rfnet", "m2ftrans") for c in "ABC"] + [("mmformer", "A")])
def test_loss_terms_distances_and_gradients_are_those_of_the_released_code(published, name, case):
    expected = published(name)
    terms, output, gradients = training_case(published, name, case)

    def loop(term):
        return expected[f"train{case}/loop/{term}_loss"].item()

    assert terms["segmentation"].item() == pytest.approx(loop("fuse") + loop("prm"), rel=1e-5)
    for ours, theirs in (("separate", "sep"), ("pixel", "kl"), ("semantic", "proto")):
        assert terms[ours].item() == pytest.approx(loop(theirs), rel=1e-5)
    assert terms["loss"].item() == pytest.approx(expected[f"train{case}/loop/loss"].item(), rel=1e-5)
    distance = expected[f"train{case}/model/dist"][output.sample_index, output.modality_index]
    np.testing.assert_allclose(terms["distance"], distance, rtol=0, atol=1e-5 * distance.max())
    norms = dict(zip(expected["names"].tolist(), expected[f"train{case}/gradnorm"].tolist(), strict=True))
    largest = max(norms.values())
    assert all(abs(norm - norms[theirs]) < 1e-5 * largest for theirs, norm in gradients.items())


@pytest.mark.parametrize("case", ["B", "C"])
def test_mmformer_differs_in_the_columns_that_carry_published_faults_alone(published, case):
    """T2's own path takes T1's tokens there, and in C the token of a modality outside the fused mask is lost."""
    expected = published("mmformer")
    terms, output, _ = training_case(published, "mmformer", case)
    mask = torch.from_numpy(expected[f"train{case}/mask"])
    sound = mask[output.sample_index, output.modality_index] & (output.modality_index != T2)
    distance = expected[f"train{case}/model/dist"][output.sample_index, output.modality_index]
    np.testing.assert_allclose(terms["distance"][sound], distance[sound], rtol=0, atol=1e-5)
    assert (np.abs(terms["distance"].numpy() - distance)[~sound.numpy()] > 1e-4).any()
    assert terms["separate"].item() == pytest.approx(expected[f"train{case}/loop/sep_loss"].item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["random", "persistent"])
def test_beta_follows_the_released_schedule(kind):
    with np.load(SCHEDULE) as arrays:
        distances, betas = arrays[f"{kind}/dist"], arrays[f"{kind}/beta"]
    rule, zero, counts = preference(), torch.zeros(4), torch.full((4,), 5.0)
    for distance, beta in zip(distances, betas, strict=True):
        rule.update(zero, counts, torch.from_numpy(distance) * 5)
        np.testing.assert_allclose(rule.beta, beta, atol=2e-5)


def test_a_resumed_schedule_goes_on_where_it_was():
    sums = torch.tensor([1.0, 2.0, 3.0, 4.0])
    straight, first, second = preference(), preference(), preference()
    for _ in range(120):
        straight.update(sums, torch.ones(4), sums)
    for _ in range(99):
        first.update(sums, torch.ones(4), sums)
    second.load_state_dict(first.state_dict())
    for _ in range(21):
        second.update(sums, torch.ones(4), sums)
    assert torch.equal(second.beta, straight.beta)


def test_size_weight_is_that_of_the_missing_rates():
    rates = dict(zip(MODALITIES, (0.5, 0.0, 0.75, 0.2), strict=True))
    rule = ReleasedPreference(modalities=MODALITIES, missing_rates=rates)
    assert rule.size_weight.tolist() == pytest.approx([2, 1, 4, 1.25]) and rule.beta.tolist() == [1, 1, 1, 1]


class TestEdges:
    def test_samples_with_one_modality_and_no_distance_stay_finite(self, make_paths, make_target):
        output = make_paths(torch.tensor([[True, False, False, False], [True, True, False, False]]))
        alone = output.unimodal
        same = torch.cat([output.fused.embedding[:1].detach(), alone.embedding[1:]])
        alone.embedding = same
        output = MultiPathOutput(
            output.fused, alone, output.sample_index, output.modality_index, alone.logits.detach().requires_grad_()
        )
        terms = ReleasedObjective(preference=preference())(output, make_target(2), torch.ones(2, 4, dtype=torch.bool))
        assert all(value.isfinite().all() for value in terms.values())

    def test_a_network_without_separate_decoder_is_refused(self, make_paths, make_target):
        output = make_paths(torch.ones(1, 4, dtype=torch.bool))
        with pytest.raises(ValueError, match="needs the separate decoder; build the network with separate_decoder"):
            ReleasedObjective(preference=preference())(output, make_target(1), torch.ones(1, 4, dtype=torch.bool))

    def test_impossible_settings_are_refused(self):
        with pytest.raises(ValueError, match="temperature above 0, got 0.5, 0.1, 0"):
            ReleasedObjective(preference=preference(), temperature=0)
        with pytest.raises(ValueError, match="needs distance_sum"):
            preference().update(torch.zeros(4), torch.ones(4))
