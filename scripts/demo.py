"""From nothing to segmentations in minutes: draw phantoms, drop sequences, train with PASSION, score, segment, look.

Runs the commands that a user would type, one after the other, and ends with exit code 1 if the model has not learned.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import BRATS2020
from passion_components.metrics import METRICS
from passion_components.modalities import subset_name
from passion_components.reports.figures import Panel, write_case_rows

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "bundles" / "brats2020_rfnet"
MODALITIES = BRATS2020.modalities
SCAN_SUBSETS = (MODALITIES, ("flair", "t1ce"), ("t1",), ("t2",))
RATES = "t1=0.2,t1ce=0.4,flair=0.6,t2=0.8"


def run(*words: str | Path) -> None:
    """Show a command and run it; end the demo where it fails."""
    command = [str(word) for word in words]
    print("\n$ " + " ".join(f'"{word}"' if "[" in word or " " in word else word for word in command), flush=True)
    executable = {"passion": Path(sys.executable).with_name("passion"), "python": Path(sys.executable)}[command[0]]
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    if subprocess.run([executable, *command[1:]], cwd=BUNDLE, env=environment).returncode:
        sys.exit(f"error: this command failed: {' '.join(command)}")


def bundle(run_id: str, *configs: str, **arguments: str | Path) -> None:
    """Run one of the bundle's programs with the demo's settings."""
    files = [f"configs/{name}.json" for name in (*configs, "demo")]
    options = [word for name, value in arguments.items() for word in (f"--{name}", value)]
    run("python", "-m", "monai.bundle", "run", run_id, "--config_file", str(files), *options)


def scans_with_missing_sequences(cases: list[dict[str, str]], folder: Path) -> dict[str, dict[str, str]]:
    """Copy cases into a folder of scans, one per subset of ``SCAN_SUBSETS``, leaving sequences out."""
    chosen = {}
    for number, (case, subset) in enumerate(zip(cases, SCAN_SUBSETS, strict=False), start=1):
        name = f"scan_{number}"
        (folder / name).mkdir(parents=True)
        for modality in subset:
            shutil.copy(case[modality], folder / name / f"{name}_{modality}.nii.gz")
        chosen[name] = case | {"subset": subset_name(subset, MODALITIES)}
    return chosen


def draw(scans: dict[str, dict[str, str]], predictions: Path, path: Path) -> None:
    """One row a scan: what was given, the true tumour, the predicted one, in the slice with most tumour."""

    def volume(file: str | Path) -> np.ndarray:
        return np.asarray(nib.load(file).dataobj)

    def masks(labels: np.ndarray) -> dict[str, np.ndarray]:
        return {
            name: np.isin(labels, [BRATS2020.file_code(index) for index in classes])
            for name, classes in BRATS2020.regions.items()
        }

    rows = []
    for name, case in scans.items():
        truth = volume(case["label"])
        z = int((truth > 0).sum((0, 1)).argmax())
        prediction = volume(predictions / name / f"{name}_seg.nii.gz")[..., z]
        given = case["subset"].split("+")
        image = volume(case[given[0]])[..., z]
        overlap = METRICS["dice"](prediction > 0, truth[..., z] > 0)
        rows.append(
            (
                f"given: {case['subset']}",
                [
                    *(Panel(modality, volume(case[modality])[..., z], {}) for modality in given[:1]),
                    Panel("truth", image, masks(truth[..., z])),
                    Panel(f"predicted (WT Dice {overlap:.2f})", image, masks(prediction)),
                ],
            )
        )
    write_case_rows(path, rows)


def whole_brain_dice(cases: list[dict[str, str]]) -> float:
    """Mean Dice of calling the whole brain tumour."""
    values = []
    for case in cases:
        brain = np.asarray(nib.load(case["t1"]).dataobj) != 0
        values.append(METRICS["dice"](brain, np.asarray(nib.load(case["label"]).dataobj) > 0))
    return float(np.mean(values))


def has_learned(summary: dict, brain: float) -> bool:
    """Print what the demo promises, and whether it holds: WT Dice with all sequences, and with each alone."""
    floors = {subset_name(MODALITIES, MODALITIES): 0.5} | {name: max(0.25, brain + 0.15) for name in MODALITIES}
    good = True
    for name, floor in floors.items():
        reached = summary["subsets"][name]["dice"]["WT"]
        good &= reached >= floor
        print(f"  WT Dice from {name}: {reached:.3f}, expected at least {floor:.3f}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="two epochs on few phantoms: shows that all of it runs")
    parser.add_argument("--out", type=Path, default=ROOT / "demo", help="folder to write to; its content is replaced")
    args = parser.parse_args()
    out, start = args.out.resolve(), time.perf_counter()
    if out.exists() and any(out.iterdir()) and not (out / "phantoms").is_dir():
        sys.exit(f"error: {out} is not empty and not from an earlier demo; name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)

    phantoms, complete, missing = out / "phantoms", out / "phantoms/datalist.json", out / "phantoms/missing.json"
    run("passion", "phantom", "brain", "--cases", "12" if args.short else "40", "--size", "32,32,32", "--out", phantoms)
    run("passion", "simulate-missing", complete, "--rates", RATES, "--seed", "1037", "--out", missing)
    data = {"dataset_dir": phantoms, "datalist": missing, "output_dir": out / "training"}
    bundle("training", "train", **data, **({"epochs": "2"} if args.short else {}))
    bundle("evaluating", "train", "evaluate", **data, save_predictions="True")
    run("passion", "report", out / "training", "--out", out / "report.html")
    test_cases = Datalist(complete).cases("test", MODALITIES)
    scans = scans_with_missing_sequences(test_cases, out / "scans")
    weights = {"ckpt": out / "training/model.pt", "output_dir": out / "segmentations"}
    bundle("inference", "inference", dataset_dir=out / "scans", **weights)
    draw(scans, out / "segmentations", out / "segmentations.png")

    summary = json.loads((out / "training/summary.json").read_text(encoding="utf-8"))
    brain = whole_brain_dice(test_cases)
    print("\nDice by number of available sequences (mean over held-out phantoms and subsets)")
    for count, entry in summary["by_count"].items():
        print(f"  {count}: " + "  ".join(f"{region} {value:.3f}" for region, value in entry["dice"].items()))
    print(f"Calling the whole brain tumour would score WT {brain:.3f}.")
    good = has_learned(summary, brain)
    print(f"\nTook {time.perf_counter() - start:.0f} s. Written to {out}:")
    print(
        "  training/      weights, history.csv, preference.csv, metrics.csv, summary.json, table.md, TensorBoard events"
    )
    print("  segmentations/ label maps of scans with missing sequences")
    print("  segmentations.png")
    print("  report.html    what was trained, curves, scores of every subset, pictures: open it in a browser")
    if not good and not args.short:
        print("error: the model has not learned enough, see above")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
