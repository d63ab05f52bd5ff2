"""A teacher that changes slowly: the fused path of an average of the network over its training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from passion_components.backbones.base import Backbone, MultiPathOutput


class AveragedTeacherInferer(Inferer):
    """Call a MultiPath network and add the fused path of its moving average (mean teacher, Tarvainen and Valpola 2017).

    Before each call the average becomes ``decay`` * average + (1 - ``decay``) * network; before the first one it is the
    network itself. It decodes without gradient and without dropout.

    Args:
        network: the backbone that is trained.
        decay: how slowly the average follows, from 0 (the network itself) to below 1.

    Attributes:
        average: what a checkpoint has to hold.

    Raises:
        ValueError: a decay outside [0, 1).
    """

    def __init__(self, network: Backbone, *, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be at least 0 and below 1, got {decay}")
        self.network = network
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay)).eval().requires_grad_(False)

    def __call__(
        self, inputs: Tensor, network: nn.Module, *args: Any, fused_presence: Tensor, **kwargs: Any
    ) -> MultiPathOutput:
        """All paths of images (B, M, *S) by ``network``, a MultiPath or a wrapper of it, with ``averaged``."""
        self.average.update_parameters(self.network)
        output: MultiPathOutput = network(inputs, *args, fused_presence=fused_presence, **kwargs)
        with torch.no_grad():
            features = self.average.module.encode(inputs, fused_presence)
            return replace(output, averaged=self.average.module.decode(features, fused_presence))
