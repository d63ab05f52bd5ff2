import pytest
import torch
from ignite.engine import Engine

from passion_components.handlers.finite import FiniteLossHandler, NonFiniteLossError


def trained_on(losses):
    """An engine whose n-th step has the n-th loss."""

    def step(engine, batch):
        engine.state.losses = {"loss": batch["loss"], "pixel": batch["loss"] / 2, "distance": torch.zeros(3)}

    engine = Engine(step)
    FiniteLossHandler().attach(engine)
    engine.run([{"loss": torch.tensor(loss), "case": [f"P{n}", "Q"]} for n, loss in enumerate(losses)], max_epochs=2)
    return engine


def test_finite_losses_pass():
    assert trained_on([1.0, 0.0, -2.0]).state.iteration == 6


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_bad_step_is_told_with_its_cases_and_terms(bad):
    with pytest.raises(NonFiniteLossError, match=rf"in epoch 1, step 2, on P1, Q: loss {bad}, pixel {bad}; look at"):
        trained_on([1.0, bad, 2.0])
