"""Write the JSON configs of every bundle from the layered YAML templates; ``--check`` only compares.

Layers are merged by MONAI's own rules, so a template may use nested keys (``train#handlers``) and ``+key``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver

from passion_components import __version__
from passion_components.datasets import DATASETS as SPECS
from passion_components.datasets import DatasetSpec
from passion_components.engines.earlier_versions import as_now
from passion_components.files import write_text_atomically
from passion_components.reports.cells import markdown_lines
from passion_components.reports.tables import subset_scores

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "scripts" / "templates"
BUNDLES = [
    *(
        (dataset, backbone)
        for dataset in ("brats2020", "myops2020", "tcga_lgg")
        for backbone in ("rfnet", "mmformer", "m2ftrans")
    ),
    ("brats2021", "rfnet"),
]
"""Data set and backbone of each."""
_SETTLED = ("modalities", "spacing", "roi_size", "network_def", "preprocessing")
"""Keys in which the data set's values stand as literals; the overlay own_data.json asks @spec for them."""
_LINE = 120


def merged(*layers: Path) -> dict[str, Any]:
    """The layers as one config; a merge that MONAI only warns about is an error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = ConfigParser.load_config_files([str(layer) for layer in layers])
    for path, value in _leaves(config):
        if any(part.startswith("+") for part in path) or (
            isinstance(value, str) and re.match(r"%.*\.(json|yaml)", value)
        ):
            raise ValueError(f"{'#'.join(path)} is left unmerged in {', '.join(layer.name for layer in layers)}")
    return config


def _leaves(value: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*path, str(key)))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, str(index)))]
    return [(path, value)]


def as_json(config: dict[str, Any]) -> str:
    """The text of a JSON config; what holds no component and fits into a line stands in one."""
    return _written(config, room=_LINE) + "\n"


def _written(value: Any, *, room: int, indent: str = "") -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or (len(flat) <= room and _depth(value) <= 2 and indent):
        return flat
    deeper = indent + "    "
    names = [f"{json.dumps(str(key), ensure_ascii=False)}: " for key in value] if isinstance(value, dict) else None
    items = value.values() if isinstance(value, dict) else value
    lines = [
        f"{deeper}{name}{_written(item, room=_LINE - len(deeper) - len(name), indent=deeper)}"
        for name, item in zip(names or [""] * len(value), items, strict=True)
    ]
    opening, closing = "{}" if names is not None else "[]"
    return f"{opening}\n" + ",\n".join(lines) + f"\n{indent}{closing}"


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)


def settled(value: Any, spec: DatasetSpec) -> Any:
    """A part of a config without its questions to the data set: what ``@spec`` alone decides is there, or is not."""
    if isinstance(value, list):
        kept = [item for item in value if not (isinstance(item, dict) and _settled_text(item.get("_disabled_"), spec))]
        return [settled(item, spec) for item in kept]
    if isinstance(value, dict):
        return {key: settled(item, spec) for key, item in value.items() if key != "_disabled_"}
    return _settled_text(value, spec)


def _settled_text(value: Any, spec: DatasetSpec) -> Any:
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    if set(ReferenceResolver.match_refs_pattern(value)) == {"spec"}:
        return ConfigParser({"spec": spec, "value": value}).get_parsed_content("value")
    in_space = r"\1" if spec.spatial_dims == 3 else r"$\1 + [-1]"
    return re.sub(r"\$(@\w+) \+ \[-1\] \* \(3 - len\(\1\)\)", in_space, value)


def overlay_text(path: Path, *more: Path) -> str:
    """An overlay keeps its nested and ``+`` keys, MONAI merges it when it runs; with what further files add."""
    config = ConfigParser.load_config_file(str(path))
    for added in more:
        config |= ConfigParser.load_config_file(str(added)) if added.exists() else {}
    return as_json(config)


def bundle_files(dataset: str, backbone: str) -> dict[str, str]:
    """Path inside the bundle -> text, for everything that is generated."""
    spec = SPECS[dataset]
    base = [TEMPLATES / "common.yaml", TEMPLATES / f"dataset_{dataset}.yaml", TEMPLATES / f"backbone_{backbone}.yaml"]
    samples = TEMPLATES / ("train_3d.yaml" if spec.spatial_dims == 3 else f"train_{dataset}.yaml")
    trained = TEMPLATES / f"trained_{backbone}.yaml"
    programs = {
        "train": merged(*base, TEMPLATES / "train.yaml", samples),
        "inference": merged(*base, TEMPLATES / "inference.yaml", trained),
    }
    files = {
        f"configs/{name}.json": as_json(config | {key: settled(config[key], spec) for key in _SETTLED})
        for name, config in programs.items()
    }
    files["configs/evaluate.json"] = overlay_text(TEMPLATES / "evaluate.yaml", trained)
    for overlay in sorted((TEMPLATES / "overlays").glob("*.yaml")):
        files[f"configs/{overlay.stem}.json"] = overlay_text(
            overlay, *(TEMPLATES / f"{overlay.stem}_{part}.yaml" for part in (dataset, backbone))
        )
    metadata = merged(
        TEMPLATES / "metadata.yaml", TEMPLATES / f"metadata_{dataset}.yaml", TEMPLATES / f"metadata_{backbone}.yaml"
    )
    title, size = metadata.pop("backbone"), metadata.pop("size")
    metadata["version"] = __version__
    metadata = json.loads(as_json(metadata).replace("{backbone}", title).replace("{size}", size))
    files["configs/metadata.json"] = as_json(metadata)
    files["configs/logging.conf"] = (TEMPLATES / "logging.conf").read_text(encoding="utf-8")
    files["LICENSE"] = (ROOT / "LICENSE").read_text(encoding="utf-8")
    files["docs/README.md"] = model_card(dataset, backbone, metadata, programs["train"])
    files["docs/data_license.txt"] = (TEMPLATES / f"data_license_{dataset}.txt").read_text(encoding="utf-8")
    return files


def model_card(dataset: str, backbone: str, metadata: dict[str, Any], train: dict[str, Any]) -> str:
    """The bundle's README from its template."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    spec, models = SPECS[dataset], ROOT / "bundles" / f"{dataset}_{backbone}" / "models"
    return environment.get_template("model_card.md").render(
        metadata=metadata,
        data=(TEMPLATES / f"model_card_{dataset}.md").read_text(encoding="utf-8").strip(),
        network=(TEMPLATES / f"model_card_{backbone}.md").read_text(encoding="utf-8").strip(),
        image=metadata["network_data_format"]["inputs"]["image"],
        pred=metadata["network_data_format"]["outputs"]["pred"],
        spec=spec,
        codes={index: code for code, index in sorted(spec.codes().items(), reverse=True)},
        batch_size=train["batch_size"],
        min_component_share=train["min_component_share"],
        patients=patients(models),
        performance=performance(models),
    )


def patients(models: Path) -> str:
    """How many patients the weights in ``models`` were trained on, and what others did; empty without weights."""
    if not (models / "split.json").exists():
        return ""
    count = {part: len(names) for part, names in _json(models / "split.json").items()}
    trained, validation, test = (count.get(part, 0) for part in ("training", "validation", "test"))
    others = f"scored on {_others(test)}"
    if not test:
        others = f"chosen and scored on the same {validation} others, so that the scores flatter"
    elif validation:
        others = f"chosen on {_others(validation)}, {others}"
    return f"**Trained on {trained} patients; {others}.**"


def _others(count: int) -> str:
    return f"{count} other" if count == 1 else f"{count} others"


def performance(models: Path) -> str:
    """What the model card says of the weights in ``models``: their training, and the scores in evaluation.json."""
    if not (models / "evaluation.json").exists():
        return "No weights are shipped with this bundle yet, so there is no number to report."
    summary = _json(models / "evaluation.json")
    about = _json(models / "model.json")
    run, weights = as_now(about["trained_on"]), summary["run"]["weights"]
    split = _json(models / "split.json")
    part = "test" if split.get("test") else "validation"
    table = subset_scores(summary, summary, f"{summary['cases']} {part} cases")
    threshold = (
        f"The threshold of {about['threshold']} was chosen on validation cases (`threshold.csv`) and is part of the "
        "last layer's bias. "
        if "threshold" in about
        else ""
    )
    axes = ", ".join(map(str, sorted(about.get("mirror_axes", []))))
    mirrored = f"Windows are predicted mirrored along the axes {axes} as well (`mirror_axes`). " if axes else ""
    scored = "Scored on the test cases"
    if part == "validation":
        scored = f"Chosen and scored on the same cases, {', '.join(split[part])}"
    epochs = f"{about['epoch']} epochs" + (" from earlier weights on" if run.get("started_from") else "")
    commands = models / "commands.txt"
    made = (
        ["", "Made by", "", "```bash", commands.read_text(encoding="utf-8").strip(), "```"] if commands.exists() else []
    )
    return "\n".join(
        [
            f"`models/model.pt` (the same state in `model.safetensors`; SHA-256 `{weights['sha256'][:16]}...`): "
            f"{run['network']['class']}, {run['network']['parameters']:,} parameters, {run['objective']['class']}, "
            f"{run['training_cases']} training cases, {epochs}, seed {run['seed']}. {threshold}{mirrored}{scored} "
            f"(`evaluation.json`); `split.json` names the cases of every part, `model.json` what the weights must be "
            f"fed with ({_fed_with(run['input'])}).",
            *made,
            "",
            table.caption,
            "",
            *markdown_lines(table),
        ]
    )


def _json(path: Path) -> dict[str, Any]:
    """One of the files that ``ship_weights.py`` writes.

    Raises:
        ValueError: it is not there, or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = "is no JSON" if path.exists() else "no such file"
        raise ValueError(f"{path}: {found}; take it from a copy, or run scripts/ship_weights.py again") from None


def _fed_with(said: dict[str, Any]) -> str:
    spacing, crop = (" x ".join(f"{value:g}" for value in said[name]) for name in ("spacing", "crop"))
    unit = "pixels" if len(said["crop"]) == 2 else "voxels"
    return f"{', '.join(said['modalities'])} in this order, {spacing} mm, windows of {crop} {unit}"


def generate(*, check: bool) -> list[str]:
    """Write what differs from the templates, once all of it is known to be right; with ``check`` nothing is written.

    Returns:
        The files, relative to the repository.
    """
    bundles = [(ROOT / "bundles" / f"{dataset}_{backbone}", dataset, backbone) for dataset, backbone in BUNDLES]
    texts = {
        bundle / name: text
        for bundle, dataset, backbone in bundles
        for name, text in bundle_files(dataset, backbone).items()
    }
    stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if not check:
        for path in stale:
            write_text_atomically(path, texts[path])
        for bundle, *_ in bundles:
            (bundle / "models").mkdir(parents=True, exist_ok=True)
    return [str(path.relative_to(ROOT)) for path in stale]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    check = parser.parse_args().check
    try:
        stale = generate(check=check)
    except (ValueError, OSError, yaml.YAMLError) as error:
        print("error:", *str(error).split(), file=sys.stderr)
        return 1
    print("\n".join(f"{'stale' if check else 'written'}: {name}" for name in stale) or "all bundles are up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
