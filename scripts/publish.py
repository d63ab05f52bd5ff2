"""Upload zips of bundles and their index to a GitHub release or a Hugging Face repository.

    python scripts/publish.py dist --github OWNER/REPO --tag v0.1.0 [--upload]
    python scripts/publish.py dist --hugging-face OWNER/REPO --tag v0.1.0 [--upload]

Without --upload nothing leaves this computer: it checks the folder that scripts/package_bundles.py has filled and says
what would be uploaded. GitHub wants a token in GITHUB_TOKEN, and the tag pushed before; the release stays a draft until
all files are there. Hugging Face wants the repository made before, and a token in HF_TOKEN or `hf auth login`. What is
published under a tag is never replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from passion_components.data.errors import UserError
from passion_components.files import sha256_of
from passion_components.hub.index import INDEX, SUMS, IndexEntry, entry_of
from passion_components.hub.sources import FolderSource

TIMEOUT = 120.0
"""Seconds without an answer."""


def checked_files(folder: Path) -> tuple[list[IndexEntry], list[Path]]:
    """The bundles of a folder, and its files in the order of upload: the index, by which others are found, last.

    Raises:
        UserError: a zip is missing or is not what the index or the sums say.
    """
    entries = list(FolderSource(folder).index().values())
    sums = folder / SUMS
    said = sums.read_text(encoding="utf-8", errors="replace").splitlines() if sums.is_file() else []
    for entry in entries:
        archive = folder / entry.file
        right = archive.is_file() and entry_of(archive) == entry and f"{entry.sha256}  {entry.file}" in said
        if not right:
            raise UserError(
                f"{archive}: is missing, or not what {INDEX} and {SUMS} say; run scripts/package_bundles.py"
            )
    if not entries:
        raise UserError(f"{folder / INDEX}: names no bundle; run scripts/package_bundles.py")
    return entries, [*(folder / entry.file for entry in entries), sums, folder / INDEX]


class GithubRelease:
    """The release of a tag, by GitHub's REST API at ``GITHUB_API_URL``."""

    def __init__(self, repository: str, tag: str) -> None:
        self.api = f"{os.environ.get('GITHUB_API_URL', 'https://api.github.com')}/repos/{repository}"
        self.tag, self.token = tag, os.environ.get("GITHUB_TOKEN", "")
        if not self.token:
            raise UserError("no token: set GITHUB_TOKEN to one that may write the contents of the repository")

    def publish(self, files: list[Path]) -> None:
        """Upload what is not there yet; a draft is published when all is there.

        Raises:
            UserError: no such tag; the release has another file under the name of one of these; GitHub refuses.
        """
        if self._call("GET", f"{self.api}/git/ref/tags/{quote(self.tag)}", missing=True) is None:
            raise UserError(
                f"{self.api}: no tag {self.tag} that the token may read; push it first: git push origin {self.tag}"
            )
        releases = self._call("GET", f"{self.api}/releases?per_page=100")
        release = next((found for found in releases if found["tag_name"] == self.tag), None)
        if release is None:
            said = {"tag_name": self.tag, "name": self.tag, "draft": True}
            release = self._call("POST", f"{self.api}/releases", json.dumps(said).encode())
        there = {asset["name"]: asset for asset in release["assets"]}
        missing = [file for file in files if not self._has(there, file)]
        for file in missing:
            url = f"{release['upload_url'].split('{')[0]}?name={quote(file.name)}"
            self._call("POST", url, file.read_bytes())
            print(f"uploaded: {file.name}")
        if release["draft"]:
            self._call("PATCH", f"{self.api}/releases/{release['id']}", json.dumps({"draft": False}).encode())
        print(f"published: {release['html_url']}")

    def _has(self, there: dict[str, Any], file: Path) -> bool:
        """Whether the release has a file; what an upload that was cut off has left of it is removed."""
        asset = there.get(file.name)
        if asset is None:
            return False
        if asset["state"] != "uploaded":
            self._call("DELETE", f"{self.api}/releases/assets/{asset['id']}")
            return False
        if asset["size"] != file.stat().st_size or asset.get("digest") not in (None, f"sha256:{sha256_of(file)}"):
            raise UserError(f"{self.tag}: has another {file.name} already; publish under a new version and tag")
        return True

    def _call(self, method: str, url: str, data: bytes | None = None, *, missing: bool = False) -> Any:
        """The answer; with ``missing``, None for what is not there."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "passion-bundles",
            "Content-Type": "application/octet-stream",
        }
        try:
            with urlopen(Request(url, data=data, headers=headers, method=method), timeout=TIMEOUT) as response:
                content = response.read()
        except HTTPError as error:
            if missing and error.code == 404:
                return None
            raise UserError(f"{method} {url}: {error}; check the repository and what the token may do") from None
        except URLError as error:
            raise UserError(f"{method} {url}: {error.reason}; the same command goes on where it stopped") from None
        return json.loads(content) if content else None


def publish_to_hugging_face(repository: str, tag: str, folder: Path, files: list[Path]) -> None:
    """All files in one commit, then the tag.

    Raises:
        UserError: huggingface_hub is missing, or the repository has the tag.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise UserError("--hugging-face needs huggingface_hub: pip install 'passion-bundles[hub]'") from None
    api = HfApi()
    if tag in {found.name for found in api.list_repo_refs(repository).tags}:
        raise UserError(f"{repository}: has the tag {tag} already; publish under a new version and tag")
    names = [file.name for file in files]
    commit = api.upload_folder(
        repo_id=repository, folder_path=folder, allow_patterns=names, commit_message=f"Bundles {tag}"
    )
    api.create_tag(repository, tag=tag, revision=commit.oid)
    print(f"published: {commit.commit_url}")


def _repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"expected OWNER/REPO, got {text!r}")
    return text


def _tag(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a name like v0.1.0, got {text!r}")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what scripts/package_bundles.py has filled")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--github", type=_repository, metavar="OWNER/REPO")
    place.add_argument("--hugging-face", type=_repository, metavar="OWNER/REPO")
    parser.add_argument("--tag", type=_tag, required=True, help="of this release, like v0.1.0")
    parser.add_argument("--upload", action="store_true", help="do it; without it, only say what would be done")
    args = parser.parse_args()
    try:
        entries, files = checked_files(args.folder)
        for entry in entries:
            weights = "with weights" if entry.weights else "without weights"
            print(f"{entry.name} {entry.version}, {weights}, data: {entry.data_licence}")
        for file in files:
            print(f"{'to upload' if args.upload else 'would upload'}: {file.name}, {file.stat().st_size / 1e6:.2f} MB")
        if args.upload and args.github:
            GithubRelease(args.github, args.tag).publish(files)
        elif args.upload:
            publish_to_hugging_face(args.hugging_face, args.tag, args.folder, files)
        else:
            print(f"nothing was uploaded; add --upload to publish at {args.github or args.hugging_face} as {args.tag}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
