"""Weight files, read without executing anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def read_weights(path: Path) -> Mapping[str, Any]:
    """What a file holds: ``.safetensors``, or what torch.save wrote; nothing in it is executed.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that holds something else, or could be read only by executing it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is no weight file that can be read without executing it: {reason}") from error
