"""Weight files, read without executing anything in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

_UNSAFE = ("Unsupported global", "unsupported GLOBAL", "Unsupported class", "TorchScript", "pickle protocol")
"""What torch says of pickles that are whole but ask for more than tensors, numbers, strings, lists and dicts."""


def read_weights(path: Path) -> Mapping[str, Any]:
    """What a file holds: ``.safetensors``, or what torch.save wrote; nothing in it is executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is damaged or holds something else, or could be read only by executing it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    with open(path, "rb") as file:
        begin = file.read(64)
    other = _what_else(begin)
    if other is not None:
        raise ValueError(f"{path} {other}")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else _load(path)
    except Exception as error:
        if any(word in str(error) for word in _UNSAFE):
            raise ValueError(
                f"{path} holds more than weights and could be read only by executing it, which is never done; "
                f"accepted: .safetensors, or a state dict of tensors written by torch.save"
            ) from error
        raise ValueError(f"{path} is damaged, or no weight file; fetch or write it again") from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}; expected names with their tensors (a state dict)")
    return state


def _load(path: Path) -> Any:
    if zipfile.is_zipfile(path) and any(name.endswith("constants.pkl") for name in zipfile.ZipFile(path).namelist()):
        raise ValueError("TorchScript")
    with open(path, "rb") as file:
        if file.read(2) in (b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ValueError("pickle protocol of Python itself, not of torch.save")
    return torch.load(path, map_location="cpu", weights_only=True)


def _what_else(begin: bytes) -> str | None:
    """What a file is whose beginning shows that it holds no weights."""
    if not begin:
        return "is empty; fetch or write it again"
    if begin.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the weights themselves; run `git lfs pull`"
    if begin.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "is a web page, not weights; download the file itself"
    return None
