"""Checkpoints that tell the objective as text, as earlier versions wrote them."""

import pytest
from ignite.engine import Engine
from torch import nn

from passion_components.handlers.checkpoint import ResumeError, TrainingCheckpointHandler

NOW = {"class": "PMRObjective", "lambda_pmr": 0.1, "power": 2}


@pytest.fixture
def train(tmp_path):
    def run(objective, *, epochs, resume=False) -> int:
        engine = Engine(lambda engine, batch: None)
        handler = TrainingCheckpointHandler(
            output_dir=tmp_path, network=nn.Linear(1, 1), objects={}, run={"objective": objective}, resume=resume
        )
        handler.attach(engine)
        return engine.run([0], max_epochs=epochs).epoch

    return run


def test_they_go_on_with_the_same_objective_alone(train, caplog):
    train("PMRObjective( lambda_pmr=0.1 )", epochs=1)
    with pytest.raises(ResumeError, match=r"another run: objective.lambda_pmr was 0.1, now 0.5; give the same"):
        train(NOW | {"lambda_pmr": 0.5}, epochs=2, resume=True)
    with pytest.raises(ResumeError, match=r"another run: objective.class was 'PMRObjective', now 'BaselineObjective'"):
        train({"class": "BaselineObjective"}, epochs=2, resume=True)
    assert train(NOW, epochs=2, resume=True) == 2
    assert "does not tell all of objective; make sure" in caplog.text


def test_once_they_went_on_all_of_it_is_told(train, caplog):
    train("PMRObjective( lambda_pmr=0.1 )", epochs=1)
    train(NOW, epochs=2, resume=True)
    caplog.clear()
    assert train(NOW, epochs=3, resume=True) == 3 and "does not tell" not in caplog.text
    with pytest.raises(ResumeError, match="objective.power was 2, now 3"):
        train(NOW | {"power": 3}, epochs=4, resume=True)
