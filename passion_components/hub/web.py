"""Files over http(s): transfers that go on where they were cut off, of no more bytes than were told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from passion_components import __version__
from passion_components.data.errors import UserError

TIMEOUT = 30.0
"""Seconds without a byte."""
TRIES = 3
"""Connections in a row that may bring nothing before a transfer is given up."""

_BLOCK = 2**20
_NO_SUCH_RANGE = 416
_PARTIAL = 206
_GITHUB = re.compile(r"(https://github\.com/[^/]+/[^/]+)(?:/releases(?:/latest|/tag/([^/]+))?)?/?")
_HUGGING_FACE = re.compile(r"(https://huggingface\.co/[^/]+/[^/]+)(?:/tree/([^/]+))?/?")


def base_address(address: str) -> str:
    """Where the files of an address lie, ending in ``/``: of a GitHub release, a Hugging Face repository, a folder."""
    github, hugging_face = _GITHUB.fullmatch(address), _HUGGING_FACE.fullmatch(address)
    if github:
        return f"{github[1]}/releases/{f'download/{github[2]}' if github[2] else 'latest/download'}/"
    if hugging_face:
        return f"{hugging_face[1]}/resolve/{hugging_face[2] or 'main'}/"
    return f"{address.removesuffix('/bundles.json').rstrip('/')}/"


def read_small(url: str, limit: int) -> bytes:
    """A small file whole, or its first ``limit`` + 1 bytes.

    Raises:
        UserError: not there, or not reachable.
    """
    try:
        with _opened(url, {}) as response:
            return response.read(limit + 1)
    except (OSError, HTTPException) as error:
        raise _unreachable(url, error) from None


def transfer(url: str, part: Path, size: int, moved: Callable[[int], Any]) -> None:
    """Bring a file of ``size`` bytes into ``part``, from where an earlier transfer of the same file left it.

    Whether the bytes are right is for the caller to check, by a hash of all: a part is kept under that hash, so what
    another file at the same address adds to it is found there.

    Args:
        moved: told how many bytes are there.

    Raises:
        UserError: not there, not reachable, of another size, or cut off; then what has come is kept.
    """
    fruitless, fault = 0, "the connection was closed"
    while (have := part.stat().st_size if part.exists() else 0) != size:
        if fruitless == TRIES:
            raise UserError(
                f"{url}: cut off after {have:,} of {size:,} bytes ({fault}); run the command again to go on from there"
            )
        if have > size:
            part.unlink()
            continue
        try:
            _receive(url, part, have, size, moved)
        except HTTPError as error:
            if error.code != _NO_SUCH_RANGE or not have:
                raise _unreachable(url, error) from None
            part.unlink()
        except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
            fault = _reason(error)
        fruitless = 0 if part.exists() and part.stat().st_size > have else fruitless + 1


def _receive(url: str, part: Path, have: int, size: int, moved: Callable[[int], Any]) -> None:
    """Append what one connection gives; from the start, where the server does not serve ranges."""
    with _opened(url, {"Range": f"bytes={have}-"} if have else {}) as response:
        resumed = response.status == _PARTIAL
        told = response.headers.get("Content-Range", "") if resumed else response.headers.get("Content-Length", "")
        if resumed and not told.startswith(f"bytes {have}-"):
            raise UserError(f"{url}: the server sent other bytes than asked for ({told!r}); try another source")
        whole = told.rpartition("/")[2]
        if whole.isdecimal() and int(whole) != size:
            raise UserError(f"{url}: has {int(whole):,} bytes, the index says {size:,}; tell whoever published it")
        have = have if resumed else 0
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(min(_BLOCK, size - have)):
                file.write(block)
                have += len(block)
                moved(have)


class _Redirects(HTTPRedirectHandler):
    """Follows to http and https only, and from https to https only."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl).scheme not in {"https", req.type}:
            raise UserError(f"{req.full_url}: leads to {newurl:.200}, which is not followed; expected an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _opened(url: str, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
    request = Request(url, headers={"User-Agent": f"passion-bundles/{__version__}", **headers})
    with build_opener(_Redirects).open(request, timeout=TIMEOUT) as response:
        yield response


def _reason(error: BaseException) -> str:
    """What went wrong, in a line."""
    reason = getattr(error, "reason", error)
    text = f"HTTP {error.code} {reason}" if isinstance(error, HTTPError) else str(reason)
    return " ".join(text.split())[:200] or type(error).__name__


def _unreachable(url: str, error: BaseException) -> UserError:
    return UserError(f"{url}: cannot be fetched ({_reason(error)}); check the address, and that it may be read by all")
