"""``passion convert-weights``: weights of the published networks, and of PASSION's released code, for the bundles."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from safetensors.torch import save_file

from passion_components.backbones.base import SEPARATE_PREFIX
from passion_components.backbones.published_weights import load_published
from passion_components.data.outputs import check_replaceable
from passion_components.engines.weights_input import network_settings
from passion_components.files import sha256_of, write_atomically, write_text_atomically
from passion_components.modalities import PUBLISHED_MODALITIES

_MARK = "passion convert-weights"


class BackboneName(StrEnum):
    rfnet = "rfnet"
    mmformer = "mmformer"
    m2ftrans = "m2ftrans"


app = typer.Typer()


@app.command()
def convert_weights(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A checkpoint of that code; only read.")],
    backbone: Annotated[BackboneName, typer.Option(help="The network whose parameters it holds.")],
    out: Annotated[Path, typer.Option(help="The file to write, ending in .safetensors.")],
    num_heads: Annotated[int, typer.Option(min=1, help="Attention heads; the file does not tell.")] = 8,
) -> None:
    """Convert weights of the published networks or of PASSION's released code for the bundles.

    Reads .pth or .safetensors, with or without training state, and executes nothing in it. The separate uni-modal
    decoder, which is used in training only, is left out.

        passion convert-weights model_last.pth --backbone rfnet --out model.safetensors
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"{out}: expected a name that ends in .safetensors")
    check_replaceable(out, _MARK)
    check_replaceable(out.with_suffix(".json"), '"sha256_safetensors"')
    network = load_published(source, backbone.value, num_heads=num_heads)
    state = {
        name: value.contiguous() for name, value in network.state_dict().items() if not name.startswith(SEPARATE_PREFIX)
    }
    write_atomically(out, partial(save_file, state, metadata={"written_by": _MARK}))
    names = PUBLISHED_MODALITIES[: network.n_modalities]
    said = {"network": network_settings(network)} | (
        {"modalities": list(names)} if names == PUBLISHED_MODALITIES else {}
    )
    about = {"sha256_safetensors": sha256_of(out), "trained_on": {"input": said}}
    write_text_atomically(out.with_suffix(".json"), json.dumps(about, indent=2, sort_keys=True) + "\n")
    channels = ", ".join(names)
    parameters = sum(value.numel() for value in state.values())
    typer.echo(
        f"{out}: {type(network).__name__} in {network.spatial_dims}D, {parameters:,} parameters, "
        f"{network.n_classes} classes, image channels {channels}"
    )
    typer.echo(
        f"use it in a bundle with: --ckpt {out} ({out.with_suffix('.json').name} beside it describes the network)"
    )
