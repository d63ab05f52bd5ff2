"""What weights must be fed with: kept in the JSON beside them, taken by evaluation and inference."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from passion_components.backbones.base import Backbone
from passion_components.data.errors import UserError, by
from passion_components.datasets import DatasetSpec
from passion_components.files import sha256_of

logger = logging.getLogger(__name__)

BEFORE = "before"
"""Entry of the JSON beside weights that tells of those which lay there before, while they are being replaced."""

DATASET_FILE = "dataset.json"
"""Beside weights that were trained on a data set of no bundle: its description."""

_OF_THE_DATASET = ("dataset", "classes", "orientation", "normalisation", "central")
"""What no argument changes: where weights say otherwise they belong to another data set, or to another definition."""


@dataclass(frozen=True)
class WeightsInput:
    """What the weights that a run will use were trained on; what is not known is that of the data set.

    Attributes:
        path: the weights, None where there are none.
        said: ``trained_on.input`` of the JSON beside them, as :func:`describe_input` wrote it; empty: unknown.
        modalities: names of the image's channels, in order.
        spacing: millimetres per voxel, one number per spatial dimension.
        crop: voxels of a window, one number per spatial dimension.
        network: arguments of the backbone.
        label_scheme: how the label files of the training were coded.
        mirror_axes: axes along which windows are best predicted mirrored as well, as whoever shipped the weights chose.
    """

    path: Path | None
    said: Mapping[str, Any]
    modalities: tuple[str, ...]
    spacing: tuple[float, ...]
    crop: tuple[int, ...]
    network: Mapping[str, Any]
    label_scheme: str | None
    mirror_axes: Sequence[int]


def describe_input(
    *,
    spec: DatasetSpec,
    network: nn.Module,
    modalities: Sequence[str],
    spacing: Sequence[float],
    roi_size: Sequence[int],
    label_scheme: str | None,
) -> dict[str, Any]:
    """What a network that is trained now sees, in plain values."""
    description = of_dataset(spec) | {
        "modalities": list(modalities),
        "spacing": [float(value) for value in spacing],
        "crop": list(roi_size),
        "label_scheme": label_scheme or spec.name,
        "label_codes": {str(code): index for code, index in spec.codes(label_scheme).items()},
        "network": network_settings(network),
    }
    plain: dict[str, Any] = json.loads(json.dumps(description))
    return plain


def of_dataset(spec: DatasetSpec) -> dict[str, Any]:
    """What the data set alone decides."""
    return {
        "dataset": spec.name,
        "classes": list(spec.classes),
        "orientation": spec.orientation,
        "normalisation": f"z-score of the foreground ({spec.foreground})",
        "central": spec.central,
    }


def network_settings(network: nn.Module) -> dict[str, Any]:
    """Class and arguments of a backbone, but for the decoder that serves training alone; empty for other modules."""
    if not isinstance(network, Backbone):
        return {}
    settings = {name: value for name, value in network.settings.items() if name != "separate_decoder"}
    plain: dict[str, Any] = json.loads(json.dumps({"class": type(network).__name__, **settings}, default=repr))
    return plain


def weights_candidates(ckpt: str, output_dir: Path | str | None, bundle_root: Path | str | None) -> list[Path]:
    """Where weights are looked for: ``ckpt`` alone if it is given, else output folder, then bundle, where there are."""
    if ckpt:
        return [Path(ckpt)]
    folders = [] if output_dir is None else [Path(output_dir)]
    folders += [] if bundle_root is None else [Path(bundle_root) / "models"]
    return [folder / "model.pt" for folder in folders]


def find_weights(ckpt: str, output_dir: Path | str | None, bundle_root: Path | str | None) -> Path | None:
    """The weights that a run uses, None where there are none."""
    return next((path for path in weights_candidates(ckpt, output_dir, bundle_root) if path.is_file()), None)


def read_about(weights: Path) -> Mapping[str, Any]:
    """What the JSON beside weights says of them; empty where there is none.

    One that was written just before weights that it announces tells under :data:`BEFORE` of those that they replace.
    """
    try:
        about = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        before = about.pop(BEFORE, None)
        if isinstance(before, dict) and before.get("sha256") == sha256_of(weights):
            return before
    except (OSError, ValueError, AttributeError):
        return {}
    return about if isinstance(about, dict) else {}


def input_of(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """What :func:`describe_input` said when the weights were trained; empty: unknown."""
    run = about.get("trained_on")
    said = run.get("input") if isinstance(run, dict) else None
    return said if isinstance(said, dict) else {}


def weights_input(
    *, spec: DatasetSpec, ckpt: str, output_dir: Path | str | None = None, bundle_root: Path | str | None = None
) -> WeightsInput:
    """What the weights that a run will use were trained on; a training starts from those of ``ckpt`` or from none.

    Weights of another data set, which :func:`check_weights` refuses, and none at all give the data set's own values, so
    that configs can be read in any case.
    """
    path = find_weights(ckpt, output_dir, bundle_root)
    about = {} if path is None else read_about(path)
    said = input_of(about)
    used = said if _other_dataset(said, spec) is None else {}
    scheme = used.get("label_scheme")
    return WeightsInput(
        path=path,
        said=said,
        modalities=tuple(used.get("modalities", spec.modalities)),
        spacing=tuple(used.get("spacing", spec.spacing)),
        crop=tuple(used.get("crop", spec.crop)),
        network=used.get("network", {}),
        label_scheme=scheme if scheme in spec.label_schemes else None,
        mirror_axes=about.get("mirror_axes", []),
    )


def check_weights(
    trained: WeightsInput,
    *,
    spec: DatasetSpec,
    modalities: Sequence[str],
    spacing: Sequence[float],
    roi_size: Sequence[int],
) -> None:
    """Compare what weights were trained on with what they will be fed with; warn where size or spacing differ.

    Raises:
        UserError: another data set or definition of it, other channels or another order of them.
    """
    other = _other_dataset(trained.said, spec)
    if other is not None:
        raise UserError(
            f"{trained.path} {other}; use the bundle that they belong to, the data set that they were trained on with "
            f"configs/own_data.json and --dataset_file FILE.json, or other weights with --ckpt"
        )
    if list(modalities) != list(trained.modalities):
        channels = f"--modalities {', '.join(modalities)}"
        if "modalities" in trained.said:
            raise UserError(
                f"{channels}: {trained.path} was trained with the channels {', '.join(trained.modalities)}, in this "
                f"order; leave --modalities out: absent sequences need no argument"
            )
        logger.warning("%s: nothing says with which channels the weights were trained; trusting the argument", channels)
    if trained.path is not None and "spacing" not in trained.said:
        logger.info("nothing says with which spacing and window %s was trained; taking %s's", trained.path, spec.name)
    for name, given, key, own, unit in (
        ("spacing", spacing, "spacing", trained.spacing, "mm"),
        ("roi_size", roi_size, "crop", trained.crop, "voxels"),
    ):
        if key in trained.said and list(given) != list(own):
            logger.warning(
                "--%s %s %s is not what the weights were trained with, %s %s; leave it out to use theirs",
                *(name, by(given), unit, by(own), unit),
            )


def _other_dataset(said: Mapping[str, Any], spec: DatasetSpec) -> str | None:
    """How weights contradict a data set, None where they do not."""
    here = of_dataset(spec)
    for name in _OF_THE_DATASET:
        if name in said and said[name] != here[name]:
            return f"was trained with {name} {said[name]!r}, here it is {here[name]!r}"
    strange = [name for name in said.get("modalities", ()) if name not in spec.modalities]
    if strange:
        return f"was trained with {', '.join(strange)}, which {spec.name} does not have"
    return None
