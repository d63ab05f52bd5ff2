"""Which keys of a config have an effect on what is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import MACRO_KEY


def keys_in_use(config: Mapping[str, Any], run_id: str) -> set[str]:
    """The top-level keys of a merged config that a run comes to, from reference to reference.

    Args:
        config: as MONAI merges it from its files.
        run_id: name of the run's list; ``initialize`` and ``finalize`` belong to every run.
    """
    seen: set[str] = set()
    coming = ["initialize", run_id, "finalize"]
    while coming:
        name = coming.pop()
        if name not in seen:
            seen.add(name)
            for text in _texts(_content(config, name)):
                coming += ReferenceResolver.match_refs_pattern(text)
                coming += [ReferenceResolver.normalize_id(text[1:])] if text.startswith(MACRO_KEY) else []
    return {name.split("::")[0] for name in seen} & set(config)


def _content(config: Mapping[str, Any], name: str) -> Any:
    """What ``train::handlers::0`` names; None where there is nothing of this name."""
    node: Any = config
    for key in name.split("::"):
        if isinstance(node, list) and key.isdigit():
            node = node[int(key)] if int(key) < len(node) else None
        else:
            node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _texts(node: Any) -> Iterator[str]:
    """All strings below a node."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping | list):
        for below in node.values() if isinstance(node, Mapping) else node:
            yield from _texts(below)
