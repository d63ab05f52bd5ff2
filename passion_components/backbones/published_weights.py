"""Backbones from the weights of the published code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from passion_components.backbones import rfnet, token_backbone
from passion_components.backbones.base import Backbone
from passion_components.backbones.channel_attention import N_LAYERS
from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.backbones.weight_files import read_weights
from passion_components.modalities import PUBLISHED_MODALITIES

Names = Mapping[str, str | tuple[str, ...]]
"""Our parameter -> the published one, or those that it is a stack of."""


def load_published(state_or_path: Mapping[str, Any] | str | Path, backbone: str, num_heads: int = 8) -> Backbone:
    """A backbone with published weights, in eval mode, on the CPU.

    Width, numbers of classes and modalities, dimensions, depth and the separate decoder follow from the shapes. Image
    channels are flair, t1ce, t1, t2. Half precision becomes float32; float64 stays float64.

    Args:
        state_or_path: a file (``.safetensors``, or what torch.save wrote), or names -> tensors or arrays. Weights may
            stand under ``state_dict`` beside other entries of a training state, and begin with ``module.``.
        backbone: ``rfnet``, ``mmformer`` or ``m2ftrans``.
        num_heads: attention heads, which no shape tells; backbones without attention ignore it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another backbone, a file that holds no weights, or parameters that are missing, left over or of
            another shape.
    """
    if backbone not in _LOADERS:
        raise ValueError(f"unknown backbone {backbone!r}; accepted: {', '.join(_LOADERS)}")
    if not isinstance(state_or_path, str | Path):
        return _network_of(state_or_path, backbone, num_heads)
    state = read_weights(Path(state_or_path))
    try:
        return _network_of(state, backbone, num_heads)
    except ValueError as error:
        raise ValueError(f"{state_or_path}: {error}") from error


def _network_of(wrapped: Mapping[str, Any], backbone: str, num_heads: int) -> Backbone:
    """The network whose parameters a state, or a training state around one, holds."""
    state = _tensors(wrapped)
    dtype = torch.float64 if any(value.dtype == torch.float64 for value in state.values()) else torch.float32
    network, names = _LOADERS[backbone](state, num_heads)
    _compare(state, network, names, backbone)
    parameters = network.to(dtype).state_dict()
    for ours, published in names.items():
        value = state[published] if isinstance(published, str) else torch.stack([state[name] for name in published])
        parameters[ours].copy_(value.reshape(parameters[ours].shape))
    return network.eval()


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
    """A shape without ones, which tell a 1x1 convolution from a matrix and a stack of one from its only part."""
    return tuple(size for size in shape if size != 1)


def _shape_of(state: Mapping[str, Tensor], name: str, backbone: str) -> torch.Size:
    """Shape of a convolution's weight from which sizes are inferred."""
    if name not in state:
        raise ValueError(f"not the published parameters of {backbone}: {name} is missing")
    shape = state[name].shape
    if len(shape) not in (4, 5) or 0 in shape:
        raise ValueError(f"{name}: expected the weight of a convolution in 2D or 3D, got shape {tuple(shape)}")
    return shape


@dataclass
class _Sizes:
    """What the shapes of any published state tell."""

    modalities: tuple[str, ...]
    arguments: dict[str, Any]


def _found_encoders(state: Mapping[str, Tensor], backbone: str, entry: str) -> tuple[tuple[str, ...], torch.Size]:
    """Modalities that have an encoder, and the shape of the first one's first convolution."""
    encoders = tuple(name for name in PUBLISHED_MODALITIES if f"{name}_encoder.{entry}" in state)
    return encoders, _shape_of(state, f"{(encoders or PUBLISHED_MODALITIES)[0]}_encoder.{entry}", backbone)


def _sizes(
    state: Mapping[str, Tensor],
    backbone: str,
    found: tuple[tuple[str, ...], torch.Size],
    decoder: str,
    n_modalities: int,
) -> _Sizes:
    """Sizes that all backbones have, from what :func:`_found_encoders` found and the decoder's last convolution."""
    encoders, first = found
    if not 1 <= n_modalities <= len(PUBLISHED_MODALITIES):
        raise ValueError(f"{backbone}: expected 1 to {len(PUBLISHED_MODALITIES)} modalities, got {n_modalities}")
    return _Sizes(
        modalities=encoders if len(encoders) == n_modalities else PUBLISHED_MODALITIES[:n_modalities],
        arguments={
            "n_modalities": n_modalities,
            "n_classes": _shape_of(state, f"{decoder}.seg_layer.weight", backbone)[0],
            "spatial_dims": len(first) - 2,
            "width": first[0],
            "separate_decoder": any(name.startswith("decoder_sep.") for name in state),
        },
    )


def _transformer_sizes(state: Mapping[str, Tensor], backbone: str, name: str, n_tokens: int, dims: int) -> dict:
    """Arguments that the layers of a published transformer and its number of tokens tell."""
    depth = 0
    while f"{name}.cross_attention_list.{depth}.fn.fn.qkv.weight" in state:
        depth += 1
    hidden = f"{name}.cross_ffn_list.0.fn.fn.net.0.weight"
    edge = round(n_tokens ** (1 / dims))
    if depth == 0 or hidden not in state:
        raise ValueError(f"not the published parameters of {backbone}: {hidden} is missing")
    if edge**dims != n_tokens:
        raise ValueError(f"{backbone}: {n_tokens} positions are no {dims}D grid with equal sides")
    return {"depth": depth, "mlp_dim": state[hidden].shape[0], "img_size": [16 * edge] * dims}


def _tokens_of(state: Mapping[str, Tensor], name: str, backbone: str) -> int:
    """Number of tokens in a positional table (1, P, d)."""
    if name not in state or state[name].ndim != 3:
        raise ValueError(f"not the published parameters of {backbone}: {name} is missing or no table (1, P, d)")
    return state[name].shape[1]


def _rfnet(state: Mapping[str, Tensor], num_heads: int) -> tuple[Backbone, Names]:
    """An RFNet of the sizes that the state tells."""
    found = _found_encoders(state, "rfnet", "e1_c1.conv.weight")
    in_all = _shape_of(state, "decoder_fuse.RFM1.short_cut.0.conv.weight", "rfnet")[1]
    sizes = _sizes(state, "rfnet", found, "decoder_fuse", in_all // found[1][0])
    network = RFNet(**sizes.arguments)
    modules = {"head": "decoder_fuse.seg_layer", **_steps("steps", "decoder_fuse", rfnet.N_LEVELS - 1)}
    modules |= _encoders_and_separate(network, sizes.modalities, rfnet.N_LEVELS)
    for level in range(rfnet.N_LEVELS):
        modules |= _region_fusion(f"fusions.{level}", level + 1)
    names = _parameters(network, modules)
    for level in range(rfnet.N_LEVELS):
        for ours, layer in (("1", 0), ("2", 2)):
            for kind in ("weight", "bias"):
                names[f"fusions.{level}.weights.{kind}{ours}"] = tuple(
                    f"decoder_fuse.RFM{level + 1}.modal_fusion.{k}.weight_layer.{layer}.{kind}"
                    for k in range(network.n_classes)
                )
    return network, names


def _mmformer(state: Mapping[str, Tensor], num_heads: int) -> tuple[Backbone, Names]:
    """An mmFormer of the sizes that the state tells, with the published layout of tokens."""
    found = _found_encoders(state, "mmformer", "e1_c1.weight")
    in_all = _shape_of(state, "decoder_fuse.RFM1.fusion_layer.0.conv.weight", "mmformer")[1]
    sizes = _sizes(state, "mmformer", found, "decoder_fuse", in_all // found[1][0])
    name = sizes.modalities[0]
    n_tokens = _tokens_of(state, f"{name}_pos", "mmformer")
    across = "multimodal_transformer"
    network = MMFormer(
        **sizes.arguments,
        **_transformer_sizes(state, "mmformer", across, n_tokens, sizes.arguments["spatial_dims"]),
        token_dim=state[f"{name}_pos"].shape[2],
        num_heads=num_heads,
        token_layout="published",
    )
    modules = _encoders_and_separate(network, sizes.modalities, token_backbone.N_LEVELS)
    for index, modality in enumerate(sizes.modalities):
        modules[f"encoders.{index}.levels.0.0.conv"] = f"{modality}_encoder.e1_c1"
        modules[f"embeddings.{index}"] = f"{modality}_encode_conv"
        modules |= _transformer(f"within.{index}", f"{modality}_transformer", len(network.across))
    modules |= _transformer("across", across, len(network.across)) | {"bottleneck": "multimodal_decode_conv"}
    modules |= _steps("decoder.steps", "decoder_fuse", token_backbone.N_LEVELS - 1)
    for level in range(token_backbone.N_LEVELS):
        modules |= _fusion(f"decoder.fusions.{level}", f"decoder_fuse.RFM{level + 1}")
        modules[f"decoder.heads.{level}"] = f"decoder_fuse.seg_{f'd{level}' if level else 'layer'}"
    names = _parameters(network, modules)
    names["positions"] = tuple(f"{modality}_pos" for modality in sizes.modalities)
    return network, names


def _m2ftrans(state: Mapping[str, Tensor], num_heads: int) -> tuple[Backbone, Names]:
    """An M2FTrans of the sizes that the state tells."""
    found = _found_encoders(state, "m2ftrans", "e1_c1.conv.weight")
    n_tokens = _tokens_of(state, "fusion", "m2ftrans")
    sizes = _sizes(state, "m2ftrans", found, "decoder_fusion", _tokens_of(state, "pos", "m2ftrans") // n_tokens - 1)
    transformer = "Bottleneck.trans_bottle"
    network = M2FTrans(
        **sizes.arguments,
        **_transformer_sizes(state, "m2ftrans", transformer, n_tokens, sizes.arguments["spatial_dims"]),
        num_heads=num_heads,
    )
    modules = _encoders_and_separate(network, sizes.modalities, token_backbone.N_LEVELS)
    modules |= _transformer("transformer", transformer, len(network.transformer))
    modules |= _steps("decoder.steps", "decoder_fusion", token_backbone.N_LEVELS - 1)
    modules |= {"decoder.merge.conv": "decoder_fusion.d5_c2.conv", "decoder.leave.conv": "decoder_fusion.d5_out.conv"}
    modules["decoder.head"] = "decoder_fusion.seg_layer"
    for index, attention in enumerate(("CT4", "CT5")):
        modules |= _channel_transformer(f"decoder.attentions.{index}", f"decoder_fusion.{attention}", sizes.modalities)
    for level in range(token_backbone.N_LEVELS):
        head = f"decoder_fusion.prm_fusion{level + 1}.prm_layer"
        modules |= {f"decoder.hidden.{level}.conv": f"{head}.0.conv", f"decoder.deep_heads.{level}": f"{head}.1"}
        if level < len(network.decoder.fusions):
            modules |= _fusion(f"decoder.fusions.{level}", f"decoder_fusion.RFM{level + 1}")
    names = _parameters(network, modules)
    return network, names | {"positions": "pos", "fusion": "fusion"}


def _parameters(network: Backbone, modules: Mapping[str, str]) -> dict[str, str | tuple[str, ...]]:
    """Weights and biases of modules, as far as the network has them."""
    parameters = network.state_dict()
    return {
        f"{ours}.{kind}": f"{published}.{kind}"
        for ours, published in modules.items()
        for kind in ("weight", "bias")
        if f"{ours}.{kind}" in parameters
    }


def _encoders_and_separate(network: Backbone, modalities: tuple[str, ...], n_levels: int) -> dict[str, str]:
    """Modules of all encoders, and of the separate decoder where there is one."""
    modules: dict[str, str] = {}
    for index, modality in enumerate(modalities):
        modules |= _encoder(f"encoders.{index}", f"{modality}_encoder", n_levels)
    if network.separate is not None:
        modules |= {"separate.head": "decoder_sep.seg_layer"}
        modules |= _steps("separate.steps", "decoder_sep", n_levels - 1)
    return modules


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


def _fusion(ours: str, published: str) -> dict[str, str]:
    """Modules of a fusion of three convolutions."""
    return {f"{ours}.{block}.conv": f"{published}.fusion_layer.{block}.conv" for block in range(3)}


def _transformer(ours: str, published: str, depth: int) -> dict[str, str]:
    """Modules of transformer layers."""
    modules: dict[str, str] = {}
    for layer in range(depth):
        attention, mlp = f"{published}.cross_attention_list.{layer}.fn", f"{published}.cross_ffn_list.{layer}.fn"
        modules |= {
            f"{ours}.{layer}.attention_norm": f"{attention}.norm",
            f"{ours}.{layer}.qkv": f"{attention}.fn.qkv",
            f"{ours}.{layer}.project.0": f"{attention}.fn.proj",
            f"{ours}.{layer}.mlp_norm": f"{mlp}.norm",
            f"{ours}.{layer}.mlp.0": f"{mlp}.fn.net.0",
            f"{ours}.{layer}.mlp.3": f"{mlp}.fn.net.3",
        }
    return modules


def _channel_transformer(ours: str, published: str, modalities: tuple[str, ...]) -> dict[str, str]:
    """Modules of channel attention."""
    in_projection = ("conv1", "norm1", None, "conv2", "norm2", None, "conv3", "norm3")
    in_ffn = ("pwconv1", "norm1", None, "dwconv", "norm2", None, "pwconv2", "norm3")
    chains = {}
    for layer in range(N_LAYERS):
        attention, theirs = f"{ours}.attentions.{layer}", f"{published}.layers.{layer}.cross_attn"
        chains[attention + ".query"] = (f"{theirs}.query_map", in_projection)
        chains[attention + ".out"] = (f"{theirs}.out_project", in_projection)
        for index, modality in enumerate(modalities):
            chains[f"{attention}.keys.{index}"] = (f"{theirs}.key_map_{modality}", in_projection)
            chains[f"{attention}.values.{index}"] = (f"{theirs}.value_map_{modality}", in_projection)
        chains[f"{ours}.query_ffns.{layer}.block"] = (f"{published}.layers.{layer}.ffn1", in_ffn)
        if layer < N_LAYERS - 1:
            chains[f"{ours}.feature_ffns.{layer}.block"] = (f"{published}.layers.{layer}.ffn2", in_ffn)
    return {
        f"{chain}.{number}": f"{theirs}.{part}"
        for chain, (theirs, parts) in chains.items()
        for number, part in enumerate(parts)
        if part is not None
    }


_LOADERS: Mapping[str, Callable[[Mapping[str, Tensor], int], tuple[Backbone, Names]]] = {
    "rfnet": _rfnet,
    "mmformer": _mmformer,
    "m2ftrans": _m2ftrans,
}
