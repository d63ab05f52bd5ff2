"""Descriptions of runs as earlier versions wrote them, read as :func:`describe_run` writes them now.

Earlier ones told network and objective as text (``RFNet, 657,706 parameters``; the ``repr`` of a module), and some of
them the objective's settings beside it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

_VALUE = re.compile(r"(\w+)=(\([^()]*\)|[^\s,()]+)")
_PART = re.compile(r"\((\w+)\): (\w+)\(((?:[^()]|\([^()]*\))*)\)")


def as_now(description: Mapping[str, Any]) -> dict[str, Any]:
    """A description of any version; what it does not tell, or tells in no known form, is not there."""
    said = dict(description)
    settings = said.pop("objective_settings", None)
    if isinstance(said.get("objective"), str):
        said["objective"] = settings or _objective(said["objective"])
    if isinstance(said.get("network"), str):
        said["network"] = _network(said["network"])
    for name in ("network", "objective"):
        if name in said and not isinstance(said[name], Mapping):
            del said[name]
    return said


def with_untold(before: Any, now: Any) -> Any:
    """``before`` with the entries that it lacks, at any depth, as they are now."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return before
    return {**now, **{name: with_untold(value, now.get(name)) for name, value in before.items()}}


def _network(text: str) -> dict[str, Any]:
    name, _, count = text.partition(", ")
    digits = "".join(filter(str.isdecimal, count))
    return {"class": name} | ({"parameters": int(digits)} if digits else {})


def _objective(text: str) -> dict[str, Any]:
    """Class, switches and numbers of an objective from its ``repr`` in one line."""
    parts = {name: {"class": kind} | _values(inner) for name, kind, inner in _PART.findall(text)}
    told = {"class": text.split("(")[0]} | _values(_PART.sub("", text)) | parts
    if "gamma" in told:
        told["preference"] = {"gamma": told.pop("gamma")}
    if "warmup" in told:
        told["distillation_warmup"] = told.pop("warmup")
    return told


def _values(text: str) -> dict[str, Any]:
    """Entries ``name=value`` but for those that are None: numbers, switches, lists of them, else the text."""
    values = {name: _value(value) for name, value in _VALUE.findall(text)}
    return {name: value for name, value in values.items() if value is not None}


def _value(text: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return list(value) if isinstance(value, tuple) else value
