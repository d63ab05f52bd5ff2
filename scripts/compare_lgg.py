"""Train and score the settings of docs/results.md on TCGA-LGG, then tabulate: what is done already is not done again.

    python scripts/compare_lgg.py --dataset_dir DIR --out results

DIR is what `passion prepare lgg` wrote. Missing sequences are drawn into DIR/missing_a.json and DIR/missing_b.json. In
``--out`` every setting gets a folder; comparison.md has the scores, comparison.png RP and beta by epoch.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from passion_components.datasets import TCGA_LGG

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "tcga_lgg_rfnet"
RATES = {"a": "t1=0.2,t1ce=0.5,flair=0.8", "b": "t1=0.8,t1ce=0.5,flair=0.2"}
SIZES = ("--spacing", "[3.6,3.6]", "--roi_size", "[64,64]", "--num_workers", "0")
LENGTH = ("--epochs", "29", "--learning_rate", "0.002", "--val_interval", "1000", "--cache", "True")


@dataclass(frozen=True)
class Setting:
    """One run: title in the table, datalist, overlays over train.json, switches of the objective that are off."""

    title: str
    datalist: str
    overlays: tuple[str, ...]
    off: tuple[str, ...] = ()


SETTINGS = {
    "pdt": Setting("PDT, Eq. 1", "datalist.json", ("baseline", "pdt")),
    "a_baseline": Setting("A, baseline Eq. 2", "missing_a.json", ("baseline",)),
    "a_passion": Setting("A, PASSION Eq. 14", "missing_a.json", ()),
    "a_moddrop": Setting("A, ModDrop", "missing_a.json", ("baseline", "moddrop")),
    "a_pmr": Setting("A, PMR", "missing_a.json", ("pmr",)),
    "a_moddrop_pmr": Setting("A, ModDrop, PMR", "missing_a.json", ("moddrop", "pmr")),
    "a_moddrop_passion": Setting("A, ModDrop, PASSION", "missing_a.json", ("moddrop",)),
    "a_released": Setting("A, PASSION as released", "missing_a.json", ("released_code",)),
    "a_pixel": Setting("A, pixel", "missing_a.json", (), ("semantic", "beta")),
    "a_semantic": Setting("A, semantic", "missing_a.json", (), ("pixel", "delta")),
    "a_pixel_semantic": Setting("A, pixel, semantic", "missing_a.json", (), ("delta", "beta")),
    "a_delta": Setting("A, pixel, semantic, delta", "missing_a.json", (), ("beta",)),
    "b_baseline": Setting("B, baseline Eq. 2", "missing_b.json", ("baseline",)),
    "b_passion": Setting("B, PASSION Eq. 14", "missing_b.json", ()),
    "r_moddrop_baseline": Setting("complete, ModDrop, Eq. 2", "datalist.json", ("baseline", "moddrop")),
    "r_moddrop_passion": Setting("complete, ModDrop, PASSION Eq. 14", "datalist.json", ("moddrop",)),
}


def bundle_run(run_id: str, configs: tuple[str, ...], *options: str | Path) -> None:
    """One of the bundle's programs; ends this script where it fails."""
    files = str([f"configs/{name}.json" for name in configs])
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files, *map(str, options), *SIZES]
    print("$ " + " ".join(command[1:]), flush=True)
    if subprocess.run(command, cwd=BUNDLE).returncode:
        sys.exit(f"error: {run_id} failed, see above")


def train_and_score(setting: Setting, data: Path, out: Path, seed: int) -> None:
    """Train, then score validation and test patients with the last weights."""
    switches = [word for name in setting.off for word in (f"--objective#{name}", "False")]
    options = ("--dataset_dir", data, "--datalist", data / setting.datalist, "--output_dir", out, *switches)
    resumed = ("--resume", "True") if (out / "checkpoint.pt").exists() else ()
    if not (out / "test" / "summary.json").exists():
        bundle_run("training", ("train", *setting.overlays), *options, *LENGTH, "--seed", str(seed), *resumed)
    for part in ("validation", "test"):
        if not (out / part / "summary.json").exists():
            scored = (
                "--dataset_dir",
                data,
                "--part",
                part,
                "--ckpt",
                out / "model_last.pt",
                "--output_dir",
                out / part,
            )
            bundle_run("evaluating", ("train", "evaluate"), *scored)


def table(out: Path, part: str, metric: str, form: str) -> str:
    """Means over the patients of a part, a row a setting, a column a subset."""
    summaries = {
        name: json.loads((out / name / part / "summary.json").read_text(encoding="utf-8"))
        for name in SETTINGS
        if (out / name / part / "summary.json").exists()
    }
    subsets = list(next(iter(summaries.values()))["subsets"])
    lines = [f"| {metric}, {part} | mean | " + " | ".join(subsets) + " |", "|:---|" + "---:|" * (1 + len(subsets))]
    for name, summary in summaries.items():
        entries = [summary["mean_over_subsets"], *(summary["subsets"][subset] for subset in subsets)]
        cells = [f"{entry[metric]['lesion']:{form}}" for entry in entries]
        lines.append(f"| {SETTINGS[name].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw_preference(out: Path, path: Path) -> None:
    """Relative preference (above) and beta (below) of every sequence by epoch, a column a PASSION run under IDT."""
    names = [name for name in ("a_passion", "b_passion") if (out / name / "preference.csv").exists()]
    figure, axes = pyplot.subplots(2, len(names), figsize=(5 * len(names), 5), sharex=True, squeeze=False)
    for column, name in zip(axes.T, names, strict=True):
        with open(out / name / "preference.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for axis, key in zip(column, ("rp", "beta"), strict=True):
            for modality in TCGA_LGG.modalities:
                values = [float(row[key]) for row in rows if row["modality"] == modality]
                axis.plot(range(1, len(values) + 1), values, label=modality)
            axis.set_ylabel({"rp": "relative preference", "beta": "beta"}[key])
        column[0].set_title(f"{SETTINGS[name].title}: {RATES[name[0]]}", fontsize=9)
        column[0].axhline(0, color="grey", linewidth=0.5)
        column[1].set_xlabel("epoch")
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder with datalist.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and tables")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), help=f"of {', '.join(SETTINGS)}; default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    unknown = [name for name in args.settings if name not in SETTINGS]
    if unknown:
        parser.error(f"no setting {', '.join(unknown)}; accepted: {', '.join(SETTINGS)}")
    data, out = args.dataset_dir.resolve(), args.out.resolve()
    for pattern, rates in RATES.items():
        if not (data / f"missing_{pattern}.json").exists():
            words = (
                "--dataset",
                "tcga_lgg",
                "--rates",
                rates,
                "--seed",
                "0",
                "--out",
                data / f"missing_{pattern}.json",
            )
            passion = Path(sys.executable).with_name("passion")
            subprocess.run([passion, "simulate-missing", data / "datalist.json", *words], check=True)
    for name in args.settings:
        train_and_score(SETTINGS[name], data, out / name, args.seed)
    forms = {"dice": ".3f", "hd95": ".1f"}
    tables = [table(out, part, metric, form) for part in ("test", "validation") for metric, form in forms.items()]
    (out / "comparison.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    draw_preference(out, out / "comparison.png")
    print(f"written: {out / 'comparison.md'}, {out / 'comparison.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
