from contextlib import nullcontext

import pytest
import torch
from ignite.engine import Events
from monai.inferers import SimpleInferer
from torch.utils.data import DataLoader

from passion_components.backbones.rfnet import RFNet
from passion_components.engines.evaluator import SubsetEvaluator
from passion_components.engines.precision import AutocastInferer
from passion_components.inferers import ModalityAwareInferer
from passion_components.modalities import all_subsets
from passion_components.presence import present_names

MODALITIES = ("a", "b", "c")


@pytest.fixture
def network() -> RFNet:
    torch.manual_seed(0)
    return RFNet(n_modalities=3, n_classes=2, spatial_dims=2, width=4).eval()


@pytest.fixture
def evaluate(network):
    def run(*presence, all_subsets, subsets=None, batch_size=1, amp=False) -> list[dict]:
        generator = torch.Generator().manual_seed(2)
        items = [
            {"image": torch.randn(3, 16, 16, generator=generator), "presence": torch.tensor(row)} for row in presence
        ]
        evaluator = SubsetEvaluator(
            device=torch.device("cpu"),
            val_data_loader=DataLoader(items, batch_size=batch_size),
            network=network,
            inferer=ModalityAwareInferer(roi_size=[16, 16]),
            modalities=MODALITIES,
            all_subsets=all_subsets,
            subsets=subsets,
            amp=amp,
            decollate=False,
        )
        seen = []
        evaluator.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine: (
                seen.append({"subsets": engine.state.batch["subsets"][0], **engine.state.output})
                if engine.state.output
                else seen.append({"batch": engine.state.batch})
            ),
        )
        evaluator.run()
        assert evaluator.state.modalities == MODALITIES
        return seen

    return run


def test_every_subset_of_what_a_case_has_and_no_other(evaluate):
    first, second = evaluate([True, False, True], [True, True, True], all_subsets=True)
    names = [present_names(row, MODALITIES) for row in first["subsets"]]
    assert names == [("a",), ("c",), ("a", "c")]
    assert first["pred"].shape == (1, 3, 2, 16, 16)
    assert [present_names(row, MODALITIES) for row in second["subsets"]] == all_subsets(MODALITIES)


def test_only_the_named_subsets_and_of_these_what_a_case_has(evaluate):
    wanted = ["a+c", "b", "b+c"]
    complete, without_b, without_any = evaluate(
        [True] * 3, [True, False, True], [True, False, False], all_subsets=True, subsets=wanted
    )
    names = [["+".join(present_names(row, MODALITIES)) for row in seen["subsets"]] for seen in (complete, without_b)]
    assert names == [wanted, ["a+c"]] and without_b["pred"].shape[:2] == (1, 1)
    assert without_any == {"batch": []}


def test_together_only_what_the_case_has(evaluate, network):
    (seen,) = evaluate([True, False, True], all_subsets=False)
    assert seen["subsets"].tolist() == [[True, False, True]]
    image = seen["image"]
    expected = network(image, torch.tensor([[True, False, True]])).softmax(1)
    torch.testing.assert_close(seen["pred"][:, 0], expected)


def test_batches_of_several_cases_are_refused(evaluate):
    with pytest.raises(ValueError, match="expected a batch of 1, got 2"):
        evaluate([True] * 3, [True] * 3, all_subsets=True, batch_size=2)


def test_the_case_after_one_that_failed_is_evaluated(network):
    done = []

    def infer(image, network, **_):
        if image[0, 0, 0, 0] == 0:
            raise torch.OutOfMemoryError("too large")
        done.append(float(image[0, 0, 0, 0]))
        return image[:, None]

    evaluator = SubsetEvaluator(
        device="cpu",
        val_data_loader=[],
        network=network,
        inferer=infer,
        modalities=MODALITIES,
        all_subsets=False,
        decollate=False,
    )
    for value in (0, 1, 0, 0, 2, 3):
        batch = {"image": torch.full((1, 3, 16, 16), float(value)), "presence": torch.ones(1, 3, dtype=torch.bool)}
        with pytest.raises(torch.OutOfMemoryError) if value == 0 else nullcontext():
            evaluator.run_case(batch)
    assert done == [1, 2, 3]


@pytest.mark.parametrize("enabled", [True, False])
def test_autocast_is_that_of_the_named_device(enabled):
    inferer = AutocastInferer(SimpleInferer(), device="cpu", enabled=enabled)
    result = inferer(torch.ones(2, 2), torch.nn.Linear(2, 2))
    assert result.dtype == (torch.bfloat16 if enabled else torch.float32)
