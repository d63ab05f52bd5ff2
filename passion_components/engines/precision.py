"""Autocast of the device's own type; MONAI's engines know that of CUDA only."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer


class AutocastInferer(Inferer):
    """Run another inferer under bfloat16 autocast of a device.

    bfloat16 has the exponent range of float32, so no gradient scaler is needed.

    Args:
        inferer: what is run.
        device: the device whose autocast is meant.
        enabled: False runs in full precision.
    """

    def __init__(self, inferer: Inferer, *, device: torch.device | str, enabled: bool) -> None:
        super().__init__()
        self.inferer = inferer
        self.device_type = torch.device(device).type
        self.enabled = enabled

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=self.enabled):
            return self.inferer(*args, **kwargs)
