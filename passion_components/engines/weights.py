"""Loading the weights that evaluation and inference use."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from passion_components.backbones.base import SEPARATE_PREFIX
from passion_components.backbones.weight_files import read_weights
from passion_components.data.errors import UserError, by
from passion_components.data.lists.split_files import training_cases
from passion_components.engines.earlier_versions import as_now
from passion_components.engines.weights_input import (
    WeightsInput,
    find_weights,
    input_of,
    network_settings,
    read_about,
    weights_candidates,
)
from passion_components.files import sha256_of
from passion_components.hub.facts import HASHES

logger = logging.getLogger(__name__)

_MAX_LISTED = 5


class WeightsError(UserError):
    """No weights, damaged ones, or weights of another network; the message is one line for the user."""


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
        WeightsError: there is none of them; the file is damaged or not the one that the JSON beside it tells of; it
            holds no weights, or those of another network.
    """
    path = find_weights(ckpt, output_dir, bundle_root)
    if path is None:
        looked = " and ".join(str(candidate) for candidate in weights_candidates(ckpt, output_dir, bundle_root))
        raise WeightsError(f"no weights: looked for {looked}; run training first, or name a file with --ckpt")
    about, found = read_about(path), sha256_of(path)
    _refuse_another_file(path, about, found)
    try:
        state = read_weights(path)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    state = _for_inference(path, state, network)
    _refuse_another_network(path, about, network)
    _refuse_other_parameters(path, state, network)
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {name} holds values that are not finite; train again, or use other weights")
    network.load_state_dict(state)
    info = WeightsInfo(path=str(path), sha256=found, trained_on=_trained_on(about))
    logger.info("weights: %s (sha256 %s), trained on %s", info.path, info.sha256[:16], info.trained_on)
    return info


def warn_of_training_cases(weights: WeightsInfo, cases: Collection[str]) -> None:
    """Say once which of the cases the weights were trained on, by the ``split.json`` beside them."""
    known = sorted(training_cases(Path(weights.path)) & set(cases))
    if known:
        logger.warning(
            "%d of %d cases were trained on with these weights and tell nothing of new ones: %s%s",
            *(len(known), len(cases), ", ".join(known[:_MAX_LISTED]), ", ..." if len(known) > _MAX_LISTED else ""),
        )


def started_from(*, ckpt: str, resume: bool, output_dir: Path | str) -> str | None:
    """SHA-256 of the weights that a training starts from, None for random ones; resumed, what it once started from."""
    if resume:
        run = read_about(Path(output_dir) / "model_last.pt").get("trained_on")
        return run.get("started_from") if isinstance(run, dict) else None
    return sha256_of(ckpt) if ckpt and Path(ckpt).is_file() else None


def start_from(network: nn.Module, *, ckpt: str, trained: WeightsInput, modalities: Sequence[str]) -> None:
    """Begin a training with the weights of ``ckpt``, trained as ``trained`` says, instead of random ones.

    Raises:
        WeightsError: as :func:`load_weights`; weights of other channels, or of another order of them.
    """
    channels = trained.said.get("modalities", list(modalities))
    if channels != list(modalities):
        raise WeightsError(
            f"--ckpt {ckpt} was trained with the channels {', '.join(channels)}, here they are "
            f"{', '.join(modalities)}; use weights of the same sequences in the same order"
        )
    load_weights(network, ckpt=ckpt, output_dir="", bundle_root="")
    logger.info("training starts from these weights")


def _refuse_another_file(path: Path, about: Mapping[str, Any], found: str) -> None:
    expected = about.get(HASHES.get(path.suffix, HASHES[".pt"]), found)
    if expected != found:
        beside = path.with_suffix(".json").name
        raise WeightsError(
            f"{path}: its SHA-256 is {found[:16]}..., {beside} beside it says {str(expected)[:16]}...; the file is "
            f"damaged or another one: fetch or write it again, or remove {beside} if that is not about these weights"
        )


def _for_inference(path: Path, state: Mapping[str, Any], network: nn.Module) -> dict[str, Tensor]:
    """The state without the separate decoder, which serves training alone, where the network has none."""
    strange = next((name for name, value in state.items() if not isinstance(value, Tensor)), None)
    if strange is not None or not state:
        found = f"holds {strange!r}, which is no tensor" if state else "is empty"
        raise WeightsError(
            f"{path}: {found}; expected weights alone: model.pt of a training, not its checkpoint.pt; those of the "
            f"published code become weights by `passion convert-weights`"
        )
    if getattr(network, "separate", None) is not None:
        return dict(state)
    return {name: value for name, value in state.items() if not name.startswith(SEPARATE_PREFIX)}


def _refuse_another_network(path: Path, about: Mapping[str, Any], network: nn.Module) -> None:
    """Compare what no shape tells, like the number of attention heads."""
    said, here = input_of(about).get("network", {}), network_settings(network)
    for name, value in here.items():
        if name in said and said[name] != value:
            raise WeightsError(
                f"{path} belongs to a network with {name} {said[name]}, here it is {value}; leave the argument out to "
                f"use that of the weights, or take the bundle that they belong to"
            )


def _refuse_other_parameters(path: Path, state: Mapping[str, Tensor], network: nn.Module) -> None:
    """Compare names and shapes."""
    here = network.state_dict()
    sizes = {name: by(value.shape) for name, value in state.items()}
    expected = {name: by(value.shape) for name, value in here.items()}
    other = [name for name in [*expected, *sizes] if sizes.get(name) != expected.get(name)]
    if other:
        first = other[0]
        raise WeightsError(
            f"{path} does not fit {type(network).__name__} as configured here: {first} is "
            f"{sizes.get(first, 'missing')} in the file and {expected.get(first, 'missing')} in the network "
            f"({len(set(other))} parameters differ); use the bundle and settings that the weights were trained with"
        )


def _trained_on(about: Mapping[str, Any]) -> str:
    """What the JSON beside the weights tells of their training."""
    run = about.get("trained_on")
    run = as_now(run) if isinstance(run, dict) else {}
    if "objective" not in run:
        return "unknown"
    rates = ", ".join(f"{name} {rate:.2f}" for name, rate in run.get("missing_rates", {}).items())
    return (
        f"{run.get('dataset')}, {run.get('training_cases')} cases of {run.get('datalist')} (missing rates {rates}), "
        f"{run['objective'].get('class')}, {about.get('epoch')} epochs, seed {run.get('seed')}"
    )
