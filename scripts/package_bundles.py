"""Make zips of bundles that run without this repository: bundle, weights and a copy of the package; and their index.

    python scripts/package_bundles.py tcga_lgg_rfnet

writes dist/tcga_lgg_rfnet_v<version>.zip, the same bytes whenever the content is the same, then dist/SHA256SUMS and
dist/bundles.json, from which `passion download --from dist` works, of all zips in dist/. Refused, before anything is
written: files that are not committed, configs that the templates do not give, weights that do not load strictly, scores
of other weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from generate_bundles import bundle_files
from monai.bundle import ConfigParser

from passion_components import __version__
from passion_components.data.errors import UserError
from passion_components.engines.failures import try_folder
from passion_components.engines.weights import load_weights
from passion_components.files import sha256_of, write_atomically, write_text_atomically
from passion_components.hub.facts import WEIGHTS
from passion_components.hub.index import SUMS, write_index
from passion_components.hub.install import check_unpacked

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "passion_components"
PARTS = ("configs", "docs", "models", "LICENSE")


def check_committed(root: Path, files: Iterable[Path] = ()) -> None:
    """Refuse a tree with changes, and files that git does not know, so that a zip is always that of a commit.

    What else lies there untracked, like the data that weights were trained on, goes into no zip.
    """

    def git(*words: str) -> list[str]:
        done = subprocess.run(["git", "-C", str(root), *words, "-z"], capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"{root}: is no git repository ({done.stderr.strip()}); use a clone, or --allow-dirty")
        return done.stdout.split("\0")[:-1]

    changed = [line[3:] for line in git("status", "--porcelain", "--untracked-files=no")]
    known = set(git("ls-files"))
    changed += [name for name in (file.relative_to(root).as_posix() for file in files) if name not in known]
    if changed:
        more = ", ..." if len(changed) > 3 else ""
        raise UserError(f"not committed: {', '.join(changed[:3])}{more}; commit or remove it, or --allow-dirty")


def check_bundle(bundle: Path) -> None:
    """Refuse a bundle that is not what it says.

    Raises:
        UserError: stale files, or as :func:`check_unpacked`, :func:`load_weights` and :func:`check_scores`.
    """
    for name, text in bundle_files(*bundle.name.rsplit("_", 1)).items():
        file = bundle / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            raise UserError(f"{file}: is stale; run scripts/generate_bundles.py and commit what it writes")
    check_unpacked(bundle)
    for weights in (bundle / name for name in WEIGHTS):
        if weights.is_file():
            config = ConfigParser()
            config.read_config(bundle / "configs" / "inference.json")
            config.update({"bundle_root": str(bundle), "ckpt": str(weights)})
            network = config.get_parsed_content("network_def")
            load_weights(network, ckpt=str(weights), output_dir="", bundle_root="")
    check_scores(bundle / "models")


def check_scores(models: Path) -> None:
    """Refuse scores that other weights than those beside them have reached."""
    evaluation = models / "evaluation.json"
    if not evaluation.is_file():
        return
    run = json.loads(evaluation.read_text(encoding="utf-8")).get("run", {})
    scored = run.get("weights", {}).get("sha256")
    if scored not in {sha256_of(file) for file in models.glob("model.*")}:
        raise UserError(
            f"{evaluation}: is of weights with SHA-256 {scored}, which are not beside it; evaluate those that are"
        )


def bundle_content(bundle: Path) -> dict[str, Path]:
    """Path inside the zip -> file, sorted: one top folder with the bundle and the vendored package."""
    files = {}
    for part in (bundle / part for part in PARTS):
        for file in [part] if part.is_file() else part.rglob("*"):
            if file.is_file() and not file.name.startswith("."):
                files[f"{bundle.name}/{file.relative_to(bundle).as_posix()}"] = file
    for file in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.json"), *PACKAGE.rglob("*.jinja")):
        files[f"{bundle.name}/{file.relative_to(ROOT).as_posix()}"] = file
    return dict(sorted(files.items()))


def write_zip(path: Path, content: dict[str, Path]) -> None:
    """A zip with fixed dates and modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in content.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def package(bundles: list[Path], out: Path, *, allow_dirty: bool) -> None:
    """Check all bundles, then write their zips, and sums and index of all zips in the folder."""
    if not allow_dirty:
        check_committed(ROOT, (file for bundle in bundles for file in bundle_content(bundle).values()))
    for bundle in bundles:
        check_bundle(bundle)
    try_folder(out)
    for bundle in bundles:
        content = bundle_content(bundle)
        path = out / f"{bundle.name}_v{__version__}.zip"
        write_atomically(path, lambda partial, content=content: write_zip(partial, content))
        weights = "" if any(f"{bundle.name}/{name}" in content for name in WEIGHTS) else ", without weights"
        print(f"{path}: {len(content)} files, {path.stat().st_size / 1e6:.2f} MB{weights}")
    archives = sorted(out.glob("*.zip"))
    write_index(out, archives)
    write_text_atomically(out / SUMS, "".join(f"{sha256_of(path)}  {path.name}\n" for path in archives))


def main() -> int:
    names = sorted(path.name for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zips")
    parser.add_argument("--allow-dirty", action="store_true", help="package files that are not committed; for trials")
    args = parser.parse_args()
    for name in args.bundles:
        if name not in names:
            parser.error(f"no bundle {name!r}; accepted: {', '.join(names)}")
    try:
        package([ROOT / "bundles" / n for n in args.bundles or names], args.out, allow_dirty=args.allow_dirty)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
