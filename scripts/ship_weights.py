"""Put a run's weights into a bundle: threshold chosen on validation patients, scores of the test patients beside them.

    python scripts/ship_weights.py tcga_lgg_rfnet --run OUTPUT_DIR --dataset_dir DIR

writes models/model.pt and model.safetensors (the same state), model.json (what they were trained on and must be fed
with), split.json (names of the cases of every part), threshold.csv, history.csv and preference.csv of the run, and
evaluation.json, from which scripts/generate_bundles.py makes the numbers of the model card. For networks of two classes
only: the threshold on the foreground's probability is written into the bias of the last layer, so that whoever uses the
weights takes the more probable class, as always.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from monai.bundle import ConfigWorkflow
from safetensors.torch import save_file
from tqdm import tqdm

from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.split_files import write_split
from passion_components.datasets import dataset_spec
from passion_components.files import sha256_of, write_atomically, write_text_atomically
from passion_components.handlers.checkpoint import save_tensors
from passion_components.metrics import METRICS
from passion_components.presence import subset_table, subsets_within
from passion_components.transforms.restore import restore_probabilities

ROOT = Path(__file__).resolve().parents[1]
THRESHOLDS = [round(0.3 + 0.05 * step, 2) for step in range(13)]


def validation_dice(bundle: Path, dataset_dir: Path, state: dict[str, torch.Tensor]) -> dict[float, float]:
    """Mean over validation cases and subsets of the foreground's Dice, by threshold."""
    workflow = ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        run_id="training",
        dataset_dir=str(dataset_dir),
        num_workers=0,
    )
    workflow.initialize()
    parser = workflow.parser
    network, inferer = parser.get_parsed_content("network").eval(), parser.get_parsed_content("inferer")
    network.load_state_dict(state)
    if network.n_classes != 2:
        raise SystemExit(f"error: a threshold needs two classes, {bundle.name} has {network.n_classes}")
    cases = parser.get_parsed_content("validate#dataset")
    table = subset_table(parser.get_parsed_content("modalities"))
    found: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
    for index in tqdm(range(len(cases)), desc="validation", unit="case"):
        case = cases[index]
        subsets = subsets_within(table, case["presence"])
        with torch.inference_mode():
            predicted = inferer(case["image"][None], network, presence=case["presence"][None], subsets=subsets)[0]
        truth = case["reference"][0].numpy() > 0
        for of_subset in predicted:
            foreground = restore_probabilities(of_subset, case["image"])[1].numpy()
            for threshold, values in found.items():
                values.append(METRICS["dice"](foreground > threshold, truth))
    return {threshold: math.fsum(values) / len(values) for threshold, values in found.items()}


def write_weights(models: Path, run: Path, state: dict[str, torch.Tensor], chosen: float) -> None:
    """The state in both formats, and what it was trained on."""
    save_tensors(models / "model.pt", state)
    write_atomically(models / "model.safetensors", lambda path: save_file(state, path))
    about = json.loads((run / "model.json").read_text(encoding="utf-8"))
    about |= {
        "sha256": sha256_of(models / "model.pt"),
        "sha256_safetensors": sha256_of(models / "model.safetensors"),
        "threshold": chosen,
    }
    write_text_atomically(models / "model.json", json.dumps(about, indent=2, sort_keys=True) + "\n")
    for name in ("history.csv", "preference.csv"):
        shutil.copy(run / name, models / name)


def evaluate(bundle: Path, dataset_dir: Path) -> dict:
    """Scores of the test part, by the bundle's own program."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--config_file", "['configs/train.json','configs/evaluate.json']", "--dataset_dir", str(dataset_dir)]
        words += ["--ckpt", "models/model.pt", "--output_dir", folder, "--num_workers", "0"]
        subprocess.run([sys.executable, "-m", "monai.bundle", "run", "evaluating", *words], cwd=bundle, check=True)
        return json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name of the bundle")
    parser.add_argument("--run", type=Path, required=True, help="output_dir of its training")
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder with datalist.json")
    args = parser.parse_args()
    bundle, dataset_dir, run = ROOT / "bundles" / args.bundle, args.dataset_dir.resolve(), args.run.resolve()
    about = json.loads((run / "model.json").read_text(encoding="utf-8"))["trained_on"]
    datalist = Datalist(dataset_dir / "datalist.json")
    if about["datalist_hash"] != datalist.hash():
        raise SystemExit(f"error: {run} was trained on another datalist than {datalist.path}")
    state = torch.load(run / "model.pt", map_location="cpu", weights_only=True)
    by_threshold = validation_dice(bundle, dataset_dir, state)
    chosen = max(by_threshold, key=lambda threshold: by_threshold[threshold])
    state["head.bias"][1] -= math.log(chosen / (1 - chosen))
    models = bundle / "models"
    write_split(datalist, models, dataset_spec(about["dataset"]).modalities)
    write_weights(models, run, state, chosen)
    with open(models / "threshold.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("threshold", "mean_dice_validation"), *by_threshold.items()])
    summary = evaluate(bundle, dataset_dir)
    summary["run"]["weights"]["path"] = "models/model.pt"
    write_text_atomically(models / "evaluation.json", json.dumps(summary, indent=2) + "\n")
    print(f"threshold {chosen}; now run scripts/generate_bundles.py for the model card")
    return 0


if __name__ == "__main__":
    sys.exit(main())
