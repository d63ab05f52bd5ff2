"""Train and score the settings of docs/results.md on TCGA-LGG, then tabulate: what is done already is not done again.

    python scripts/compare_lgg.py --dataset_dir DIR --out results

DIR is what `passion prepare lgg` wrote. Missing sequences are drawn into DIR/missing_a.json and DIR/missing_b.json. In
``--out`` every setting gets a folder; test/ and validation/ hold their tables, report.html the scores of the test
patients, with RP and beta by epoch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "tcga_lgg_rfnet"
RATES = {"a": "t1=0.2,t1ce=0.5,flair=0.8", "b": "t1=0.8,t1ce=0.5,flair=0.2"}
SIZES = ("--spacing", "[3.6,3.6]", "--roi_size", "[64,64]", "--num_workers", "0")
LENGTH = ("--epochs", "29", "--learning_rate", "0.002", "--val_interval", "1000", "--cache", "True")
AS_THEY_ARE = ("--min_component_share", "0")
"""Settings are compared by what their networks give, small components included."""


@dataclass(frozen=True)
class Recipe:
    """How one setting is trained: its name in tables, datalist, overlays, switches of the objective that are off."""

    name: str
    datalist: str
    overlays: tuple[str, ...]
    off: tuple[str, ...] = ()


RECIPES = {
    "pdt": Recipe("PDT, Eq. 1", "datalist.json", ("baseline", "pdt")),
    "a_baseline": Recipe("A, baseline Eq. 2", "missing_a.json", ("baseline",)),
    "a_passion": Recipe("A, PASSION Eq. 14", "missing_a.json", ()),
    "a_moddrop": Recipe("A, ModDrop", "missing_a.json", ("baseline", "moddrop")),
    "a_pmr": Recipe("A, PMR", "missing_a.json", ("pmr",)),
    "a_moddrop_pmr": Recipe("A, ModDrop, PMR", "missing_a.json", ("moddrop", "pmr")),
    "a_moddrop_passion": Recipe("A, ModDrop, PASSION", "missing_a.json", ("moddrop",)),
    "a_released": Recipe("A, PASSION, released code", "missing_a.json", ("released_code",)),
    "a_pixel": Recipe("A, pixel", "missing_a.json", (), ("semantic", "beta")),
    "a_semantic": Recipe("A, semantic", "missing_a.json", (), ("pixel", "delta")),
    "a_pixel_semantic": Recipe("A, pixel, semantic", "missing_a.json", (), ("delta", "beta")),
    "a_delta": Recipe("A, pixel, semantic, delta", "missing_a.json", (), ("beta",)),
    "b_baseline": Recipe("B, baseline Eq. 2", "missing_b.json", ("baseline",)),
    "b_passion": Recipe("B, PASSION Eq. 14", "missing_b.json", ()),
    "r_moddrop_baseline": Recipe("complete, ModDrop, Eq. 2", "datalist.json", ("baseline", "moddrop")),
    "r_moddrop_passion": Recipe("complete, ModDrop, PASSION Eq. 14", "datalist.json", ("moddrop",)),
}


def call(*words: str | Path) -> None:
    """A program, run in the bundle's folder; ends this script where it fails."""
    command = [str(word) for word in words]
    print("$ " + " ".join(command), flush=True)
    if subprocess.run(command, cwd=BUNDLE).returncode:
        sys.exit(f"error: {command[1]} failed, see above")


def passion(*words: str | Path) -> None:
    call(Path(sys.executable).with_name("passion"), *words)


def bundle_run(run_id: str, configs: tuple[str, ...], *options: str | Path) -> None:
    files = str([f"configs/{name}.json" for name in configs])
    call(sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", files, *options, *SIZES)


def train_and_score(recipe: Recipe, data: Path, out: Path, seed: int) -> None:
    """Train, then score validation and test patients with the last weights."""
    switches = [word for name in recipe.off for word in (f"--objective#{name}", "False")]
    options = ("--dataset_dir", data, "--datalist", data / recipe.datalist, "--output_dir", out, *switches)
    resumed = ("--resume", "True") if (out / "checkpoint.pt").exists() else ()
    if not (out / "test" / "summary.json").exists():
        bundle_run("training", ("train", *recipe.overlays), *options, *LENGTH, "--seed", str(seed), *resumed)
    for part in ("validation", "test"):
        if not (out / part / "summary.json").exists():
            options = ("--dataset_dir", data, "--part", part, "--ckpt", out / "model_last.pt", *AS_THEY_ARE)
            bundle_run("evaluating", ("train", "evaluate"), *options, "--output_dir", out / part)


def scored(out: Path, part: str) -> list[str]:
    """Every setting whose scores of a part are there, as the ``passion`` commands take runs."""
    folders = {recipe.name: out / name / part for name, recipe in RECIPES.items()}
    return [f"{name}={folder}" for name, folder in folders.items() if (folder / "summary.json").exists()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder with datalist.json")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and tables")
    parser.add_argument("--settings", nargs="*", default=list(RECIPES), help=f"of {', '.join(RECIPES)}; default: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    unknown = [name for name in args.settings if name not in RECIPES]
    if unknown:
        parser.error(f"no setting {', '.join(unknown)}; accepted: {', '.join(RECIPES)}")
    data, out = args.dataset_dir.resolve(), args.out.resolve()
    for pattern, rates in RATES.items():
        missing = data / f"missing_{pattern}.json"
        if not missing.exists():
            drawn = ("--dataset", "tcga_lgg", "--rates", rates, "--seed", "0", "--out", missing)
            passion("simulate-missing", data / "datalist.json", *drawn)
    for name in args.settings:
        train_and_score(RECIPES[name], data, out / name, args.seed)
    for part in ("validation", "test"):
        runs = [
            f"{recipe.name}={out / name / part}" for name, recipe in RECIPES.items() if (out / name / part).exists()
        ]
        passion("tables", *runs, "--out", out / part)
    passion("report", *runs, "--out", out / "report.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
