"""Backbones from the weights of the published code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from passion_components.backbones.base import Backbone
from passion_components.backbones.rfnet import N_LEVELS, RFNet

PUBLISHED_MODALITIES = ("flair", "t1ce", "t1", "t2")
"""Order of the published encoders, hence of the image channels of a loaded network."""

Names = Mapping[str, str | tuple[str, ...]]
"""Our parameter -> the published one, or those that it is a stack of."""


def load_published(state_or_path: Mapping[str, Any] | str | Path, backbone: str, num_heads: int = 8) -> Backbone:
    """A backbone with published weights, in eval mode, on the CPU.

    Width, numbers of classes and modalities, dimensions and the separate decoder follow from the shapes. Image
    channels are flair, t1ce, t1, t2. Half precision becomes float32; float64 stays float64.

    Args:
        state_or_path: a file (``.safetensors``, or what torch.save wrote), or names -> tensors or arrays. Weights may
            stand under ``state_dict`` beside other entries of a training state, and begin with ``module.``.
        backbone: ``rfnet``.
        num_heads: attention heads, which no shape tells; backbones without attention ignore it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another backbone, a file that holds no weights, or parameters that are missing, left over or of
            another shape.
    """
    if backbone not in _LOADERS:
        raise ValueError(f"unknown backbone {backbone!r}; accepted: {', '.join(_LOADERS)}")
    state = _tensors(_read(Path(state_or_path)) if isinstance(state_or_path, str | Path) else state_or_path)
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in state.values()) else torch.float32
    network, names = _LOADERS[backbone](state, num_heads)
    _compare(state, network, names, backbone)
    parameters = network.to(dtype).state_dict()
    for ours, published in names.items():
        value = state[published] if isinstance(published, str) else torch.stack([state[name] for name in published])
        parameters[ours].copy_(value.reshape(parameters[ours].shape))
    return network.eval()


def _read(path: Path) -> Mapping[str, Any]:
    """What a weight file holds; nothing in it is executed."""
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is no weight file that can be read without executing it: {reason}") from error


def _tensors(state: Any) -> dict[str, Tensor]:
    """Names without ``module.`` -> tensors, out of a state or of a training state that wraps one."""
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise ValueError(f"expected names of parameters with their tensors, got {type(state).__name__}")
    tensors = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            value = torch.from_numpy(value.copy())
        if not isinstance(value, Tensor) or not value.is_floating_point():
            kind = getattr(value, "dtype", type(value).__name__)
            raise ValueError(f"{name}: expected a tensor of floating-point numbers, got {kind}")
        tensors[str(name).removeprefix("module.")] = value.detach().cpu()
    return tensors


def _compare(state: Mapping[str, Tensor], network: Backbone, names: Names, backbone: str) -> None:
    """Refuse a state whose parameters are not exactly those of the network."""
    parameters = network.state_dict()
    expected = {}
    for ours, published in names.items():
        shape = parameters[ours].shape
        if isinstance(published, str):
            expected[published] = _significant(shape)
        else:
            expected |= dict.fromkeys(published, _significant(shape[1:]))
    problems = {
        "missing": [name for name in expected if name not in state],
        "left over": [name for name in state if name not in expected],
        "of another shape": [
            f"{name} {tuple(state[name].shape)}"
            for name, shape in expected.items()
            if name in state and _significant(state[name].shape) != shape
        ],
    }
    found = [f"{len(some)} {what} ({', '.join(some[:3])})" for what, some in problems.items() if some]
    if found:
        raise ValueError(f"not the published parameters of {backbone}: {'; '.join(found)}")


def _significant(shape: torch.Size) -> tuple[int, ...]:
    """A shape without the ones at its end, which tell a 1x1 convolution from a matrix."""
    sizes = list(shape)
    while sizes and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def _shape_of(state: Mapping[str, Tensor], name: str, backbone: str) -> torch.Size:
    """Shape of a convolution's weight from which sizes are inferred."""
    if name not in state:
        raise ValueError(f"not the published parameters of {backbone}: {name} is missing")
    shape = state[name].shape
    if len(shape) not in (4, 5) or 0 in shape:
        raise ValueError(f"{name}: expected the weight of a convolution in 2D or 3D, got shape {tuple(shape)}")
    return shape


def _rfnet(state: Mapping[str, Tensor], num_heads: int) -> tuple[Backbone, Names]:
    """An RFNet of the sizes that the state tells."""
    entry = "e1_c1.conv.weight"
    encoders = [name for name in PUBLISHED_MODALITIES if f"{name}_encoder.{entry}" in state]
    first = _shape_of(state, f"{(encoders or PUBLISHED_MODALITIES)[0]}_encoder.{entry}", "rfnet")
    n_modalities = _shape_of(state, "decoder_fuse.RFM1.short_cut.0.conv.weight", "rfnet")[1] // first[0]
    if n_modalities > len(PUBLISHED_MODALITIES):
        raise ValueError(f"rfnet: expected at most {len(PUBLISHED_MODALITIES)} modalities, got {n_modalities}")
    network = RFNet(
        n_modalities=n_modalities,
        n_classes=_shape_of(state, "decoder_fuse.seg_layer.weight", "rfnet")[0],
        spatial_dims=len(first) - 2,
        width=first[0],
        separate_decoder=any(name.startswith("decoder_sep.") for name in state),
    )
    modalities = encoders if len(encoders) == n_modalities else PUBLISHED_MODALITIES[:n_modalities]
    modules: dict[str, str] = {"head": "decoder_fuse.seg_layer", **_steps("steps", "decoder_fuse", N_LEVELS - 1)}
    for index, modality in enumerate(modalities):
        modules |= _encoder(f"encoders.{index}", f"{modality}_encoder", N_LEVELS)
    for level in range(N_LEVELS):
        modules |= _region_fusion(f"fusions.{level}", level + 1)
    if network.separate is not None:
        modules |= {"separate.head": "decoder_sep.seg_layer"}
        modules |= _steps("separate.steps", "decoder_sep", N_LEVELS - 1)
    names: dict[str, str | tuple[str, ...]] = {
        f"{ours}.{kind}": f"{published}.{kind}" for ours, published in modules.items() for kind in ("weight", "bias")
    }
    for level in range(N_LEVELS):
        for ours, layer in (("1", 0), ("2", 2)):
            for kind in ("weight", "bias"):
                names[f"fusions.{level}.weights.{kind}{ours}"] = tuple(
                    f"decoder_fuse.RFM{level + 1}.modal_fusion.{k}.weight_layer.{layer}.{kind}"
                    for k in range(network.n_classes)
                )
    return network, names


def _encoder(ours: str, published: str, n_levels: int) -> dict[str, str]:
    """Modules of a residual encoder."""
    return {
        f"{ours}.levels.{level}.{block}.conv": f"{published}.e{level + 1}_c{block + 1}.conv"
        for level in range(n_levels)
        for block in range(3)
    }


def _steps(ours: str, published: str, n_steps: int) -> dict[str, str]:
    """Modules of decoder steps."""
    return {
        f"{ours}.{step}.{block}.conv": f"{published}.d{step + 1}_{name}.conv"
        for step in range(n_steps)
        for block, name in (("enter", "c1"), ("merge", "c2"), ("leave", "out"))
    }


def _region_fusion(ours: str, level: int) -> dict[str, str]:
    """Modules of region maps and region-aware fusion; the weight layers, which are stacked, apart."""
    maps, fusion = f"decoder_fuse.prm_generator{level}", f"decoder_fuse.RFM{level}"
    modules = {f"{ours}.map_hidden.conv": f"{maps}.prm_layer.0.conv", f"{ours}.map_head": f"{maps}.prm_layer.1"}
    for block in range(3):
        modules[f"{ours}.embedding.{block}.conv"] = f"{maps}.embedding_layer.{block}.conv"
        modules[f"{ours}.region.{block}.conv"] = f"{fusion}.region_fusion.fusion_layer.{block}.conv"
        modules[f"{ours}.short_cut.{block}.conv"] = f"{fusion}.short_cut.{block}.conv"
    return modules


_LOADERS: Mapping[str, Callable[[Mapping[str, Tensor], int], tuple[Backbone, Names]]] = {"rfnet": _rfnet}
