"""Finding and loading the weights that evaluation and inference use."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from passion_components.backbones.base import SEPARATE_PREFIX
from passion_components.backbones.weight_files import read_weights
from passion_components.data.errors import UserError
from passion_components.files import sha256_of

logger = logging.getLogger(__name__)


class WeightsError(UserError):
    """No weights, or weights of another network; the message is one line for the user."""


@dataclass(frozen=True)
class WeightsInfo:
    """Which weights a network has.

    Attributes:
        path: the file.
        sha256: its hash.
        trained_on: what the file beside it says of the training, or "unknown".
    """

    path: str
    sha256: str
    trained_on: str


def load_weights(network: nn.Module, *, ckpt: str, output_dir: Path | str, bundle_root: Path | str) -> WeightsInfo:
    """Load ``ckpt``, else ``output_dir/model.pt``, else ``bundle_root/models/model.pt`` into a network, strictly.

    Raises:
        WeightsError: there is none of them, or the file holds no weights of this network.
    """
    candidates = [Path(ckpt)] if ckpt else [Path(output_dir) / "model.pt", Path(bundle_root) / "models" / "model.pt"]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        looked = " and ".join(str(candidate) for candidate in candidates)
        raise WeightsError(f"no weights: looked for {looked}; run training first, or name a file with --ckpt")
    try:
        network.load_state_dict(_for_inference(read_weights(path), network))
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{path} does not fit {type(network).__name__} as configured here: {reason}") from error
    info = WeightsInfo(path=str(path), sha256=sha256_of(path), trained_on=_trained_on(path))
    logger.info("weights: %s (sha256 %s), trained on %s", info.path, info.sha256[:16], info.trained_on)
    return info


def _for_inference(state: Mapping[str, Any], network: nn.Module) -> Mapping[str, Any]:
    """The state without the separate decoder, which serves training alone, where the network has none."""
    if getattr(network, "separate", None) is not None:
        return state
    return {name: value for name, value in state.items() if not name.startswith(SEPARATE_PREFIX)}


def _trained_on(path: Path) -> str:
    """What the JSON beside the weights tells, where it belongs to exactly this file."""
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "unknown"
    if not isinstance(about, dict) or about.get("sha256") != sha256_of(path):
        return "unknown"
    run = about.get("trained_on", {})
    rates = ", ".join(f"{name} {rate:.2f}" for name, rate in run.get("missing_rates", {}).items())
    return (
        f"{run.get('dataset')}, {run.get('training_cases')} cases of {run.get('datalist')} (missing rates {rates}), "
        f"{run.get('objective', '').split('(')[0]}, {about.get('epoch')} epochs, seed {run.get('seed')}"
    )
