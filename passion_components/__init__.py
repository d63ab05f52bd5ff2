"""Components of the PASSION bundle collection: segmentation from any subset of MRI modalities."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_AT = {"Segmenter": "passion_components.predict.segmenter"}


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: torch takes seconds."""
    if name in _AT:
        return getattr(import_module(_AT[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
