"""The command line of ``python -m monai.bundle run``, which takes any argument for one of a config."""

from __future__ import annotations

import ast
import difflib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pydoc import locate
from shlex import quote
from typing import Any, cast

import torch
import yaml
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from passion_components.data.errors import UserError
from passion_components.data.words import nearest
from passion_components.engines.config_keys import keys_in_use
from passion_components.engines.failures import on_command_line, tell_in_one_line

logger = logging.getLogger(__name__)

_RUN_ARGUMENTS = ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")


def check_arguments(*, objectives: Sequence[str] = (), presence_sampling: Sequence[str] = ()) -> None:
    """Refuse command lines that MONAI would accept in silence, and tell failures on the command line in one line.

    Args:
        objectives: names that the objective overlays in use have added; at most one may.
        presence_sampling: likewise for the overlays that change how presence is sampled.

    Raises:
        UserError: an unknown override, top-level or nested, with the nearest known name; a path that reads as a number;
            two overlays that contradict each other.
    """
    tell_in_one_line()
    if torch.__version__.startswith("2.9."):
        logger.warning("PyTorch %s: its 3D convolutions are broken; install another version", torch.__version__)
    for kind, names in (("objective", objectives), ("sampling of presence", presence_sampling)):
        if len(names) > 1:
            raise UserError(f"the overlays {' and '.join(names)} each choose the {kind}; give one of them")
    given, files = _command_line(sys.argv) if on_command_line() else ({}, [])
    _check_paths(given)
    configs = [_config(file) for file in files]
    known = {re.split("#|::", key)[0].lstrip("+") for config in configs for key in config}
    if not known:
        return
    tracking = _tracking_keys(given.get("tracking", ""))
    for typed in given:
        _check_nested(typed, configs)
        name = re.match(r"\w*", typed)[0]  # type: ignore[index]
        if name not in known and name not in _RUN_ARGUMENTS and name not in tracking:
            like = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0)[0]
            raise UserError(f"unknown argument --{name}; did you mean --{like}?")
    _warn_of_keys_without_effect([name for name in given if name in known - tracking], files, given)


def with_own_data(dataset_file: Path | str) -> str:
    """What to do so that a bundle takes another data set; on a command line, what to write there."""
    files = _command_line(sys.argv)[1] if on_command_line() else []
    if not files:
        return f"add configs/own_data.json to the config files, and dataset_file {dataset_file}"
    overlay = Path(files[0]).with_name("own_data.json")
    listed = ",".join(f"'{file}'" for file in dict.fromkeys([*files, str(overlay)]))
    return f'write --config_file "[{listed}]" --dataset_file {quote(str(dataset_file))}'


def _command_line(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What ``monai.bundle run`` was given, by name as typed, its ``--args_file`` included, and its config files."""
    given: dict[str, str] = {}
    for position, word in enumerate(argv):
        match = re.match(r"--?([A-Za-z_][^=]*)", word)
        if match:
            following = argv[position + 1] if position + 1 < len(argv) else ""
            given[match[1].replace("-", "_")] = word.partition("=")[2] or following
    listed = _config(given.get("args_file", ""))
    files = _file_list(given["config_file"]) if "config_file" in given else listed.get("config_file", [])
    kept = {name: str(listed[name]) if name in ("run_id", "tracking") else "" for name in listed}
    return kept | given, [files] if isinstance(files, str) else files


def _tracking_keys(tracking: str) -> set[str]:
    """The keys that ``--tracking`` adds to a config: a word that MONAI knows, or a file."""
    settings: Mapping[str, Any] = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) or _config(tracking)
    return set(settings.get("configs", {}))


def _warn_of_keys_without_effect(names: Sequence[str], files: Sequence[str], given: Mapping[str, str]) -> None:
    """Tell which arguments belong to another run of the same configs: training's epochs when evaluating."""
    words = [word for word in sys.argv[1:3] if word.isidentifier() and word != "run"]
    run_id = given.get("run_id") or next(iter(words), "run")
    used = keys_in_use(ConfigParser.load_config_files(files), run_id)
    idle = [f"--{name}" for name in names if name not in used and name != "imports"]
    if idle:
        logger.warning("%s: no effect on %s", ", ".join(idle), run_id)


def _check_paths(given: Mapping[str, str]) -> None:
    """Refuse names of files that the command line's parser takes for numbers, lists or the like."""
    for name in ("dataset_dir", "output_dir", "bundle_root", "datalist", "ckpt"):
        value = DefaultParseValue(given.get(name, ""))
        if not isinstance(value, str):
            raise UserError(f"--{name} {given[name]} is read as {value!r}, no path; write --{name} ./{given[name]}")


def _check_nested(name: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an override of an argument that its component does not take, or of an entry that its group has not."""
    *above, last = re.split("#|::", name)
    entries = set()
    for config in configs:
        entries |= {path[len(above)] for key in config if (path := re.split("#|::", key))[:-1] == above}
        node: Any = config
        for key in above:
            node = node.get(key) if isinstance(node, Mapping) else None
        entries |= set(node) if isinstance(node, Mapping) and "_target_" not in node else set()
        target = node.get("_target_") if isinstance(node, Mapping) else None
        component = locate(target) if isinstance(target, str) and target.startswith("passion_components.") else None
        if component is None or last.startswith("_"):
            continue
        accepted = inspect.signature(cast(Callable, component)).parameters
        if last not in accepted and all(one.kind is not one.VAR_KEYWORD for one in accepted.values()):
            raise UserError(f"unknown argument --{name}{nearest(last, accepted)}; accepted: {', '.join(accepted)}")
    if above and entries and last not in entries:
        listed = ", ".join(sorted(entries))
        raise UserError(f"unknown argument --{name}{nearest(last, entries)}; {'#'.join(above)} has {listed}")


def _file_list(text: str) -> list[str]:
    """The files that a ``--config_file`` value names: one path or a Python list of them."""
    if not text.startswith(("[", "(")):
        return [text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(item) for item in value]


def _config(file: str) -> dict[str, Any]:
    """Content of a config in JSON or YAML; empty where there is none to be had, which MONAI will say."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
