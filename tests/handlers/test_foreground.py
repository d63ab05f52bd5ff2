import torch
from ignite.engine import Engine

from passion_components.handlers.foreground import ForegroundHandler


def test_cases_whose_samples_show_background_alone_are_named(caplog):
    lesion, nothing = torch.ones(1, 2, 2, dtype=torch.uint8), torch.zeros(1, 2, 2, dtype=torch.uint8)
    batches = [
        {"case": ["a", "b"], "target": torch.stack([lesion, nothing])},
        {"case": ["b", "c"], "target": torch.stack([nothing, nothing])},
    ]
    engine = Engine(lambda engine, batch: None)
    ForegroundHandler().attach(engine)
    with caplog.at_level("INFO"):
        engine.run(batches, max_epochs=1)
        assert "epoch 1: 3 of 4 samples show no foreground, of b, c" in caplog.text
        caplog.clear()
        engine.run([{"case": ["a"], "target": lesion[None]}], max_epochs=1)
        assert "no foreground" not in caplog.text
