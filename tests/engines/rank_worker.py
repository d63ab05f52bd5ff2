"""Train a small network in float64 on two samples of different presence, one a rank, or both in one process."""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from passion_components.backbones.base import MultiPath
from passion_components.backbones.rfnet import RFNet
from passion_components.engines.trainer import MultiPathTrainer
from passion_components.handlers.preference import PreferenceAwareHandler
from passion_components.objectives import PassionObjective
from passion_components.preference import RelativePreference

MODALITIES = ("a", "b", "c")
PRESENCE = torch.tensor([[True, True, False], [False, True, True]])

out = Path(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(0)
network = RFNet(n_modalities=3, n_classes=2, spatial_dims=2, width=4).double()
generator = torch.Generator().manual_seed(1)
image = torch.randn(2, 3, 16, 16, dtype=torch.float64, generator=generator)
target = torch.randint(0, 2, (2, 1, 16, 16), generator=generator)
paths, mine = MultiPath(network), slice(None)
if "RANK" in os.environ:
    dist.init_process_group("gloo")
    mine = slice(dist.get_rank(), dist.get_rank() + 1)
    paths = DistributedDataParallel(paths, find_unused_parameters=True)
batch = {"image": image[mine], "target": target[mine], "presence": PRESENCE[mine], "fused_presence": PRESENCE[mine]}
preference = RelativePreference(modalities=MODALITIES, missing_rates={"a": 0.5, "b": 0.0, "c": 0.5}, gamma=0.5)
objective = PassionObjective(preference=preference)
trainer = MultiPathTrainer(
    device=torch.device("cpu"),
    max_epochs=3,
    train_data_loader=[batch, batch],
    network=paths,
    optimizer=torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9),
    objective=objective,
    train_handlers=[PreferenceAwareHandler(preference=preference, objective=objective, output_dir=out)],
)
trainer.run()
rank = os.environ.get("RANK", "alone")
torch.save({"beta": preference.beta, **network.state_dict()}, out / f"{rank}.pt")
if "RANK" in os.environ:
    dist.destroy_process_group()
