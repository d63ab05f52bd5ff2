"""Make zips of bundles that run without this repository: bundle, weights and a copy of the package.

    python scripts/package_bundles.py tcga_lgg_rfnet

writes dist/tcga_lgg_rfnet_v<version>.zip, the same bytes whenever the content is the same, and dist/SHA256SUMS.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

from passion_components import __version__
from passion_components.files import sha256_of, write_atomically, write_text_atomically

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "passion_components"
PARTS = ("configs", "docs", "models", "LICENSE")
SUMS = "SHA256SUMS"


def bundle_content(name: str) -> dict[str, Path]:
    """Path inside the zip -> file, sorted: one top folder with the bundle and the vendored package."""
    bundle = ROOT / "bundles" / name
    files = {}
    for part in (bundle / part for part in PARTS):
        for file in [part] if part.is_file() else part.rglob("*"):
            if file.is_file() and not file.name.startswith("."):
                files[f"{name}/{file.relative_to(bundle).as_posix()}"] = file
    for file in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.json"), *PACKAGE.rglob("*.jinja")):
        files[f"{name}/{file.relative_to(ROOT).as_posix()}"] = file
    return dict(sorted(files.items()))


def write_zip(path: Path, content: dict[str, Path]) -> None:
    """A zip with fixed dates and modes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in content.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def write_sums(out: Path) -> None:
    """Hashes of all zips of a folder, in the form that ``sha256sum -c`` reads."""
    lines = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(out.glob("*.zip"))]
    write_text_atomically(out / SUMS, "".join(lines))


def main() -> int:
    names = sorted(path.name for path in (ROOT / "bundles").iterdir() if (path / "configs").is_dir())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zips")
    args = parser.parse_args()
    for name in args.bundles:
        if name not in names:
            parser.error(f"no bundle {name!r}; accepted: {', '.join(names)}")
    for name in args.bundles or names:
        content = bundle_content(name)
        path = args.out / f"{name}_v{__version__}.zip"
        write_atomically(path, lambda partial, content=content: write_zip(partial, content))
        weights = "" if f"{name}/models/model.pt" in content else ", without weights"
        print(f"{path}: {len(content)} files, {path.stat().st_size / 1e6:.2f} MB{weights}")
    write_sums(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
