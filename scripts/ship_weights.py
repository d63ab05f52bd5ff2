"""Put a run's weights into a bundle, with the scores of patients that they were not trained on.

    python scripts/ship_weights.py tcga_lgg_rfnet --run OUTPUT_DIR --dataset_dir DIR

writes models/model.pt and model.safetensors (the same state), model.json (what they were trained on and must be fed
with), split.json (names of the cases of every part), history.csv and preference.csv of the run, and evaluation.json,
from which scripts/generate_bundles.py makes the numbers of the model card. Scored is the part test or, where that is
empty, validation, which chose the weights; the card says so. Of a network of two classes the threshold on the
foreground's probability is chosen on the validation cases (threshold.csv) and written into the bias of the last layer,
so that whoever uses the weights takes the more probable class, as always. With --mirror_axes windows are predicted
mirrored along these axes as well, here and, since model.json says so, wherever the weights are used. Validation and
scores are those of the bundle's program evaluating, else with its defaults. Weights of more than 8 MB are stored as
float16 and scored so; a network takes them in its own precision. What was typed to get the run belongs into
models/commands.txt by hand: the card shows it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from safetensors.torch import save_file
from tqdm import tqdm

from passion_components.data.errors import UserError
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.split_files import write_split
from passion_components.datasets import dataset_spec
from passion_components.engines.weights_input import read_about
from passion_components.files import sha256_of, write_atomically, write_text_atomically
from passion_components.handlers.checkpoint import save_tensors
from passion_components.inferers.mirrors import checked_mirror_axes
from passion_components.metrics import METRICS
from passion_components.presence import subset_table, subsets_within

ROOT = Path(__file__).resolve().parents[1]
THRESHOLDS = [round(0.3 + 0.05 * step, 2) for step in range(13)]
LAST_BIAS = {"RFNet": "head.bias", "MMFormer": "decoder.heads.0.bias", "M2FTrans": "decoder.head.bias"}
"""Class of a network -> what is added to its logits last, one number per class."""
MAX_BYTES = 8_000_000
"""Of a weight file in the repository."""
OF_A_RUN = ("model.pt", "history.csv", "preference.csv")
"""What is taken from a run beside its model.json."""


def evaluating(
    bundle: Path, dataset_dir: Path, *, part: str, ckpt: Path, output_dir: Path, **settings: Any
) -> ConfigWorkflow:
    """The bundle's program evaluating on a part of the datalist, but for ``settings`` with its defaults."""
    workflow = ConfigWorkflow(
        config_file=[str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")],
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        run_id="evaluating",
        bundle_root=str(bundle),
        dataset_dir=str(dataset_dir),
        part=part,
        ckpt=str(ckpt),
        output_dir=str(output_dir),
        num_workers=0,
        **settings,
    )
    workflow.initialize()
    return workflow


def validation_dice(bundle: Path, dataset_dir: Path, ckpt: Path, mirror_axes: list[int]) -> dict[float, float]:
    """Mean over validation cases and subsets of the foreground's Dice, by threshold.

    A threshold t enters as in :func:`with_threshold`, before probabilities are brought to the scan's grid and small
    components are removed: foreground's odds times (1 - t) / t.
    """
    with tempfile.TemporaryDirectory() as folder:
        parser = evaluating(
            bundle, dataset_dir, part="validation", ckpt=ckpt, output_dir=Path(folder), mirror_axes=mirror_axes
        ).parser
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content("inferer")
    network.load_state_dict(torch.load(ckpt, map_location="cpu", weights_only=True))
    cases, postprocessing = (parser.get_parsed_content(f"validate#{name}") for name in ("dataset", "postprocessing"))
    table = subset_table(parser.get_parsed_content("modalities"))
    device = parser.get_parsed_content("device")
    found: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
    for index in tqdm(range(len(cases)), desc="validation", unit="case"):
        case = cases[index]
        subsets = subsets_within(table, case["presence"])
        image = case["image"][None].to(device)
        with torch.inference_mode():
            predicted = inferer(image, network, presence=case["presence"][None], subsets=subsets)[0].cpu()
        truth = case["reference"][0].numpy() > 0
        for threshold, values in found.items():
            odds = predicted * torch.tensor([threshold, 1 - threshold]).view(1, 2, *[1] * (predicted.ndim - 2))
            maps = postprocessing({"image": case["image"], "pred": odds / odds.sum(1, keepdim=True)})["pred"]
            values += [METRICS["dice"](of_subset.numpy() > 0, truth) for of_subset in maps]
    return {threshold: math.fsum(values) / len(values) for threshold, values in found.items()}


def with_threshold(state: dict[str, torch.Tensor], network: str, threshold: float) -> dict[str, torch.Tensor]:
    """The state whose foreground is the more probable class where it had more than ``threshold``."""
    bias = state[LAST_BIAS[network]].clone()
    bias[1] -= math.log(threshold / (1 - threshold))
    return state | {LAST_BIAS[network]: bias}


def write_weights(models: Path, run: Path, state: dict[str, torch.Tensor], chosen: dict[str, Any]) -> None:
    """The state in both formats, and what it was trained on."""
    save_tensors(models / "model.pt", state)
    write_atomically(models / "model.safetensors", lambda path: save_file(state, path))
    about = {
        **read_about(run / "model.pt"),
        "sha256": sha256_of(models / "model.pt"),
        "sha256_safetensors": sha256_of(models / "model.safetensors"),
        **chosen,
    }
    write_text_atomically(models / "model.json", json.dumps(about, indent=2, sort_keys=True) + "\n")
    for name in OF_A_RUN[1:]:
        shutil.copy(run / name, models / name)


def scores(bundle: Path, dataset_dir: Path, part: str) -> dict[str, Any]:
    """Summary of the bundle's weights on a part; of the weights' file nothing but its name."""
    with tempfile.TemporaryDirectory() as folder:
        workflow = evaluating(
            bundle, dataset_dir, part=part, ckpt=bundle / "models" / "model.pt", output_dir=Path(folder)
        )
        workflow.run()
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    summary["run"]["weights"]["path"] = "models/model.pt"
    summary["run"]["datalist"] = Path(summary["run"]["datalist"]).name
    return summary


def scored_part(datalist: Datalist, modalities: tuple[str, ...]) -> str:
    """``test``, or ``validation`` where no case is in ``test``."""
    parts = datalist.parts(modalities)
    found = next((part for part in ("test", "validation") if parts.get(part)), None)
    if found is None:
        raise UserError(f"{datalist.path}: parts test and validation are empty; expected cases to score")
    return found


def bundle_named(name: str) -> Path:
    """The folder of a bundle of this repository."""
    names = sorted(path.name for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir())
    if name not in names:
        raise UserError(f"no bundle {name!r}; accepted: {', '.join(names)}")
    return ROOT / "bundles" / name


def ship(bundle: Path, run: Path, dataset_dir: Path, mirror_axes: list[int]) -> str:
    """Fill the bundle's ``models`` from a run; returns what is to be told of it.

    Raises:
        UserError: no run; one on other data than the bundle or ``dataset_dir`` has; nothing to score; too large.
        ValueError: axes that its windows do not have.
    """
    about = read_about(run / "model.pt").get("trained_on")
    if not isinstance(about, dict):
        raise UserError(f"{run / 'model.json'}: tells of no training; give with --run the output_dir of one")
    datalist = Datalist(dataset_dir / "datalist.json")
    if about.get("datalist_hash") != datalist.hash():
        raise UserError(f"{run} was trained on another datalist than {datalist.path}")
    if about["dataset"] != bundle.name.rpartition("_")[0]:
        raise UserError(f"{run} was trained on {about['dataset']}, which is not the data set of {bundle.name}")
    if missing := [name for name in OF_A_RUN if not (run / name).is_file()]:
        raise UserError(
            f"{run}: has no {', '.join(missing)}; give with --run the output_dir of a training that is done"
        )
    checked_mirror_axes(mirror_axes, len(about["input"]["crop"]))
    size = (run / "model.pt").stat().st_size
    rounded = size > MAX_BYTES
    if size > 2 * MAX_BYTES:
        raise UserError(
            f"{run / 'model.pt'} has {size / 1e6:.1f} MB, accepted: {2 * MAX_BYTES / 1e6:g}; train a smaller "
            "network (network_width, token_dim, mlp_dim)"
        )
    modalities = dataset_spec(about["dataset"]).modalities
    part, models = scored_part(datalist, modalities), bundle / "models"
    state = torch.load(run / "model.pt", map_location="cpu", weights_only=True)
    chosen: dict[str, Any] = {"mirror_axes": mirror_axes}
    if len(about["input"]["classes"]) == 2:
        by_threshold = validation_dice(bundle, dataset_dir, run / "model.pt", mirror_axes)
        chosen["threshold"] = max(by_threshold, key=lambda threshold: by_threshold[threshold])
        state = with_threshold(state, about["input"]["network"]["class"], chosen["threshold"])
        with open(models / "threshold.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("threshold", "mean_dice_validation"), *by_threshold.items()])
    if rounded:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    write_split(datalist, models, modalities)
    write_weights(models, run, state, chosen)
    summary = scores(bundle, dataset_dir, part)
    write_text_atomically(models / "evaluation.json", json.dumps(summary, indent=2) + "\n")
    return (
        f"{size / 1e6:.1f} MB{', stored as float16' if rounded else ''}, {chosen}, scored on {part}; "
        f"now write {models / 'commands.txt'} and run scripts/generate_bundles.py for the model card"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name of the bundle")
    parser.add_argument("--run", type=Path, required=True, help="output_dir of its training")
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder with datalist.json")
    parser.add_argument("--mirror_axes", type=int, nargs="*", default=[], metavar="AXIS", help="such as 0 1")
    args = parser.parse_args()
    try:
        print(ship(bundle_named(args.bundle), args.run.resolve(), args.dataset_dir.resolve(), args.mirror_axes))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
