"""What a bundle says of its network and of what that must be fed with, read as plain JSON.

Configs of bundles are programs. Here their text is looked up and never evaluated: what an expression says counts as
not said, and where nothing else says it the bundle is refused.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passion_components.backbones.base import Backbone
from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.data.errors import UserError
from passion_components.datasets import DATASETS, DatasetSpec, dataset_spec
from passion_components.engines.weights_input import DATASET_FILE, WeightsInput, input_of, read_about, weights_input
from passion_components.hub import find_bundle
from passion_components.hub.facts import METADATA, WEIGHTS

NETWORKS: Mapping[str, type[Backbone]] = {network.__name__: network for network in (RFNet, MMFormer, M2FTrans)}
"""The networks that a bundle can name."""

_EXPRESSIONS = ("$", "@", "%")
_WINDOWS: Mapping[str, Any] = {"sw_batch_size": 1, "overlap": 0.5, "blending": "constant", "windows": "published"}
"""Settings of windows, where a bundle does not tell them."""


@dataclass(frozen=True)
class BundleModel:
    """A bundle, and weights for its network or for another known one.

    Attributes:
        name: of the bundle.
        version: of the bundle.
        spec: the data set that the weights belong to.
        weights: their file.
        trained: what they must be fed with.
        network: class of the network.
        arguments: of the network.
        windows: how they are laid and predicted: ``sw_batch_size``, ``overlap``, ``blending``, ``windows``,
            ``mirror_axes``.
        min_component_share: of the largest component, the voxels that another one must have; what the bundle says of
            its own data set holds for no other one.
    """

    name: str
    version: str
    spec: DatasetSpec
    weights: Path
    trained: WeightsInput
    network: type[Backbone]
    arguments: Mapping[str, Any]
    windows: Mapping[str, Any]
    min_component_share: float

    def build(self) -> Backbone:
        """The network, with random weights.

        Raises:
            UserError: numbers that no such network has.
        """
        try:
            return self.network(**self.arguments)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self.weights.with_suffix('.json')}: {self.network.__name__}: {' '.join(str(error).split())}; use "
                f"the JSON that was written with these weights"
            ) from error


def read_bundle(name_or_path: str | Path, *, ckpt: str | Path = "", dataset: str | Path | None = None) -> BundleModel:
    """What a bundle's folder, zip or downloaded name says.

    Args:
        name_or_path: as of :func:`~passion_components.hub.find_bundle`.
        ckpt: weights to use; "": the bundle's own, ``.safetensors`` before ``.pt``.
        dataset: name or JSON file of the data set that the weights belong to; None: the one that they name.

    Raises:
        UserError: no such bundle or weights, a data set that is not known, or values that only an expression tells.
    """
    bundle = find_bundle(name_or_path)
    weights = _weights(bundle, str(ckpt))
    said = input_of(read_about(weights))
    configs = {name: _read(bundle / "configs" / f"{name}.json") for name in ("inference", "train")}
    both = _Configs(bundle, [configs["inference"], configs["train"]])
    spec = _dataset(dataset, said, weights, both)
    trained = weights_input(spec=spec, ckpt=str(weights))
    network, arguments = _network(trained, spec, _Configs(bundle, [configs["train"], configs["inference"]]))
    return BundleModel(
        name=bundle.resolve().name,
        version=str(_read(bundle / METADATA).get("version", "unknown")),
        spec=spec,
        weights=weights,
        trained=trained,
        network=network,
        arguments=arguments,
        windows={key: both.literal(key, default) for key, default in _WINDOWS.items()}
        | {"mirror_axes": trained.mirror_axes},
        min_component_share=_min_component_share(spec, both),
    )


def _weights(bundle: Path, ckpt: str) -> Path:
    candidates = [Path(ckpt)] if ckpt else [bundle / name for name in WEIGHTS]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        looked = " and ".join(map(str, candidates))
        raise UserError(f"no weights: looked for {looked}; name a file with --ckpt")
    return found


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object, empty where there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is damaged; fetch the bundle again")
    return content


class _Configs:
    """Configs of a bundle in which values are looked up, in this order."""

    def __init__(self, bundle: Path, configs: Sequence[Mapping[str, Any]]) -> None:
        self.bundle = bundle
        self.configs = configs

    def literal(self, key: str, default: Any = None) -> Any:
        """The first plain value that a config has under ``key``; ``default`` where none has the key.

        Raises:
            UserError: only expressions tell it.
        """
        found = [config[key] for config in self.configs if key in config]
        plain = [value for value in found if not _is_expression(value)]
        if found and not plain:
            raise UserError(
                f"{self.bundle.name}: its configs tell {key} by an expression ({str(found[0])[:60]!r}) alone, which is "
                f"not evaluated; put {key} into the JSON beside the weights, or into the configs as a plain value"
            )
        return plain[0] if plain else default


def _is_expression(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_is_expression, value.values()))
    if isinstance(value, list):
        return any(map(_is_expression, value))
    return isinstance(value, str) and value.startswith(_EXPRESSIONS)


def _dataset(named: str | Path | None, said: Mapping[str, Any], weights: Path, configs: _Configs) -> DatasetSpec:
    """The data set that is named, that the weights name, whose file lies beside them, or that the configs name."""
    try:
        if named is not None:
            return dataset_spec(named)
        beside = weights.with_name(DATASET_FILE)
        if beside.is_file() and said.get("dataset") not in DATASETS:
            return dataset_spec(beside)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    name = said.get("dataset") or configs.literal("dataset_file")
    if not isinstance(name, str) or name not in DATASETS:
        raise UserError(
            f"{weights}: belongs to the data set {name!r}, which is none of {', '.join(DATASETS)}, and no "
            f"{DATASET_FILE} lies beside it; name its file with --dataset FILE.json"
        )
    return DATASETS[name]


def _min_component_share(spec: DatasetSpec, configs: _Configs) -> Any:
    """As the configs tell, unless they hold numbers of another built-in data set."""
    share = configs.literal("min_component_share", 0.0)
    if share and spec != DATASETS.get(str(configs.literal("dataset_file", "")), spec):
        return 0.0
    return share


def _network(trained: WeightsInput, spec: DatasetSpec, configs: _Configs) -> tuple[type[Backbone], Mapping[str, Any]]:
    """Class and arguments of the network: as the JSON beside the weights tells, the rest by the configs."""
    said = dict(trained.network)
    definitions = [config.get("network_def") for config in configs.configs]
    definition: Mapping[str, Any] = next((each for each in definitions if isinstance(each, Mapping)), {})
    full_names = {f"{network.__module__}.{name}": name for name, network in NETWORKS.items()}
    target = definition.get("_target_")
    name = said.pop("class", full_names.get(str(target), target))
    if not isinstance(name, str) or name not in NETWORKS:
        raise UserError(
            f"{configs.bundle.name}: its network is {name!r}; accepted here: {', '.join(NETWORKS)}; for one of your "
            f"own use `python -m monai.bundle run inference`, which runs the bundle's configs"
        )
    arguments = {
        "n_modalities": len(trained.modalities),
        "n_classes": len(spec.classes),
        "spatial_dims": spec.spatial_dims,
        "img_size": list(spec.crop),
    } | said
    parameters = list(inspect.signature(NETWORKS[name].__init__).parameters)[1:]
    for key in parameters:
        if key in definition and key not in arguments and full_names.get(str(target)) == name:
            value = definition[key]
            refers = isinstance(value, str) and value.startswith("@")
            arguments[key] = (
                configs.literal(value[1:]) if refers else _Configs(configs.bundle, [definition]).literal(key)
            )
    return NETWORKS[name], {key: value for key, value in arguments.items() if key in {*parameters, *said}}
