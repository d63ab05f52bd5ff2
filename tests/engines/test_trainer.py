import pytest
import torch
from ignite.engine import Events
from monai.handlers import from_engine
from torch import nn
from torch.utils.data import DataLoader

from passion_components.backbones import blocks
from passion_components.backbones.base import MultiPath
from passion_components.backbones.kernels import normalise
from passion_components.backbones.rfnet import RFNet
from passion_components.engines.trainer import MultiPathTrainer
from passion_components.objectives.base import Objective
from passion_components.objectives.baseline import BaselineObjective


class MeanLogit(Objective):
    """Loss whose gradient is plain: the mean of all fused logits, times the sample's target."""

    def forward(self, output, target, presence):
        loss = (output.fused.logits.mean((1, 2, 3)) * target.flatten(1)[:, 0]).mean()
        return {"loss": loss, "distance": torch.zeros(len(output.sample_index))}


@pytest.fixture
def network() -> MultiPath:
    torch.manual_seed(0)
    return MultiPath(RFNet(n_modalities=2, n_classes=2, spatial_dims=2, width=4))


@pytest.fixture
def items() -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    both, first = torch.tensor([True, True]), torch.tensor([True, False])
    return [
        {
            "image": torch.randn(2, 16, 16, generator=generator),
            "target": torch.full((1, 16, 16), index + 1, dtype=torch.uint8),
            "presence": both if index % 2 else first,
            "fused_presence": both if index % 2 else first,
        }
        for index in range(5)
    ]


@pytest.fixture
def trainer(network, items):
    def make(items=items, batch_size=1, optimizer=None, **overrides) -> MultiPathTrainer:
        optimizer = optimizer or torch.optim.SGD(network.parameters(), lr=1.0)
        return MultiPathTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=DataLoader(items, batch_size=batch_size),
            optimizer=optimizer,
            **({"network": network, "objective": MeanLogit()} | overrides),
        )

    return make


def weights(network) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


class TestStep:
    def test_moves_against_the_gradient_of_the_loss(self, network, items, trainer):
        before = weights(network)
        output = network(items[1]["image"][None], items[1]["presence"][None])
        gradients = torch.autograd.grad(2 * output.fused.logits.mean(), list(network.parameters()), allow_unused=True)
        trainer([items[1]]).run()
        for old, new, gradient in zip(before, weights(network), gradients, strict=True):
            torch.testing.assert_close(new, old if gradient is None else old - gradient)

    def test_accumulated_steps_equal_one_of_the_whole_batch(self, network, items, trainer):
        network.double()
        items = [item | {"image": item["image"].double()} for item in items[:4]]
        start = {name: value.clone() for name, value in network.state_dict().items()}
        trainer(items, batch_size=4).run()
        together = weights(network)
        network.load_state_dict(start)
        trainer(items, accumulation_steps=4).run()
        for one, other in zip(together, weights(network), strict=True):
            torch.testing.assert_close(one, other)

    def test_a_remainder_of_accumulation_is_not_lost(self, network, items, trainer):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        steps = []
        optimizer.register_step_post_hook(lambda *_: steps.append(1))
        trainer(items, optimizer=optimizer, accumulation_steps=2).run()
        assert len(steps) == 3

    def test_an_incomplete_window_counts_as_its_steps_do(self, network, items, trainer):
        start = {name: value.clone() for name, value in network.state_dict().items()}
        trainer(items[:1]).run()
        alone = weights(network)
        network.load_state_dict(start)
        trainer(items[:1], accumulation_steps=2).run()
        for one, other in zip(alone, weights(network), strict=True):
            assert torch.equal(one, other)

    def test_handlers_find_paths_losses_and_fused_logits(self, items, trainer):
        made = trainer(items[:2], batch_size=2)
        made.run()
        assert made.state.paths.sample_index.tolist() == [0, 1, 1]
        assert set(made.state.losses) == {"loss", "distance"}
        assert torch.equal(torch.stack([one["pred"] for one in made.state.output]), made.state.paths.fused.logits)
        assert not made.state.output[0]["pred"].requires_grad

    def test_handlers_of_monai_find_the_loss_of_a_step(self, items, trainer):
        made = trainer(items[:2], batch_size=2)
        made.run()
        assert from_engine(["loss"], first=True)(made.state.output) == made.state.losses["loss"].item()


class TestAbsentModality:
    def second_encoder(self, network) -> list[torch.Tensor]:
        return weights(network.backbone.encoders[1])

    @pytest.mark.parametrize("zero", [True, False])
    def test_its_parameters_decay_only_where_they_count_as_having_gradient_zero(self, network, items, trainer, zero):
        before = self.second_encoder(network)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
        trainer([items[0]], optimizer=optimizer, zero_absent_gradients=zero).run()
        factor = 1 - 0.1 * 0.5 if zero else 1
        for old, new in zip(before, self.second_encoder(network), strict=True):
            torch.testing.assert_close(new, old * factor)


class TestAutocast:
    @pytest.mark.parametrize("amp", [False, True])
    def test_bfloat16_is_used_on_the_cpu_and_logits_stay_float32(self, items, trainer, monkeypatch, amp):
        seen = []
        monkeypatch.setattr(blocks, "normalise", lambda x: seen.append(x.dtype) or normalise(x))
        made = trainer([items[1]], amp=amp)
        made.run()
        assert seen[0] == (torch.bfloat16 if amp else torch.float32)
        assert made.state.output[0]["pred"].dtype == torch.float32

    def test_a_short_training_reaches_the_same_loss(self, items, trainer):
        """The two losses end within a tenth of what they have fallen."""
        bright = [item | {"target": (item["image"][:1] > 0).byte()} for item in items]
        ends, starts = [], []
        for amp in (False, True):
            torch.manual_seed(0)
            network = MultiPath(RFNet(n_modalities=2, n_classes=2, spatial_dims=2, width=4))
            losses = []
            made = trainer(
                bright * 15,
                amp=amp,
                network=network,
                optimizer=torch.optim.AdamW(network.parameters(), lr=2e-3),
                objective=BaselineObjective(),
            )
            made.add_event_handler(
                Events.ITERATION_COMPLETED, lambda engine, losses=losses: losses.append(engine.state.output[0]["loss"])
            )
            made.run()
            starts.append(losses[0])
            ends.append(sum(losses[-4:]) / 4)
        assert ends[0] < 0.8 * starts[0]
        assert abs(ends[1] - ends[0]) < 0.1 * (starts[0] - ends[0])

    def test_the_objective_runs_in_full_precision(self, items, trainer):
        class Watch(MeanLogit):
            def forward(self, output, target, presence):
                self.product = nn.functional.linear(torch.ones(1, 2), torch.ones(1, 2)).dtype
                return super().forward(output, target, presence)

        objective = Watch()
        trainer([items[1]], amp=True, objective=objective).run()
        assert objective.product == torch.float32
