"""A step must not wait for the device: on the meta device, whose tensors hold no values, nothing can be asked.

Once the weights are updated, the loss is read as a number: the one time that a step waits.
"""

from contextlib import nullcontext

import pytest
import torch

from passion_components.backbones.base import MultiPath
from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.engines import trainer
from passion_components.objectives.baseline import BaselineObjective
from passion_components.objectives.passion import PassionObjective
from passion_components.objectives.pmr import PMRObjective
from passion_components.objectives.released import ReleasedObjective
from passion_components.preference import RelativePreference, ReleasedPreference

SIZES = (32, 32)
RATES = {"modalities": ("a", "b", "c"), "missing_rates": {"a": 0.2, "b": 0.5, "c": 0.0}}
BACKBONES = {
    "rfnet": lambda **known: RFNet(**known),
    "mmformer": lambda **known: MMFormer(img_size=SIZES, **known),
    "m2ftrans": lambda **known: M2FTrans(img_size=SIZES, depth=1, **known),
}
OBJECTIVES = {
    "baseline": BaselineObjective,
    "weighted": lambda: BaselineObjective(class_weights=[0.5, 1.0]),
    "passion": lambda: PassionObjective(preference=RelativePreference(**RATES)),
    "unweighted": lambda: PassionObjective(preference=RelativePreference(**RATES), delta=False, beta=False),
    "pmr": PMRObjective,
    "released": lambda: ReleasedObjective(preference=ReleasedPreference(**RATES)),
}


@pytest.fixture
def on_meta(monkeypatch):
    """The meta device has no autocast of its own; what a step leaves, numbers among it, stays as it is."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr(trainer, "decollate_output", lambda engine: None)


@pytest.mark.parametrize(
    ("backbone", "objective"),
    [*((name, "passion") for name in BACKBONES), *(("rfnet", name) for name in OBJECTIVES if name != "passion")],
)
@pytest.mark.usefixtures("on_meta")
def test_a_step_asks_no_value_of_the_device(backbone, objective):
    network = BACKBONES[backbone](
        n_modalities=3, n_classes=2, spatial_dims=2, width=4, separate_decoder=objective == "released"
    )
    presence = torch.tensor([[True, False, True], [True, True, True]])
    batch = {
        "image": torch.rand(2, 3, *SIZES),
        "target": torch.zeros(2, 1, *SIZES, dtype=torch.uint8),
        "presence": presence,
        "fused_presence": presence & torch.tensor([True, True, False]),
    }
    paths = MultiPath(network.to("meta"))
    made = trainer.MultiPathTrainer(
        device="meta",
        max_epochs=1,
        train_data_loader=[batch],
        network=paths,
        optimizer=torch.optim.AdamW(paths.parameters()),
        objective=OBJECTIVES[objective](),
    )
    made.run()
    assert made.state.iteration == 1
    assert made.state.output["pred"].device.type == "meta"


def test_the_meta_device_answers_nothing():
    x = torch.ones(2, device="meta")
    questions = (
        torch.Tensor.tolist,
        torch.Tensor.cpu,
        torch.Tensor.nonzero,
        lambda x: x[0].item(),
        lambda x: bool(x.any()),
    )
    for ask in questions:
        with pytest.raises((RuntimeError, NotImplementedError)):
            ask(x)
