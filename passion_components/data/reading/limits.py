"""How large a volume may be, judged before its values are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from passion_components.data.errors import CaseError, by

MAX_VOXELS = 2**28
"""Voxels of one file, all its volumes together: 268 million, some 645 x 645 x 645, one GiB of float32 per sequence."""

BYTES_PER_VOXEL = 16
"""What a voxel takes while a file is read: its value as it is stored and scaled, in float32, and in the image."""

MAX_HEADER = 2**24
"""Bytes before the first voxel (a header and its extensions), and bytes after the last one."""

_MEMORY = Path("/proc/meminfo")


def check_size(shape: Sequence[int], *, path: Path, case: str) -> None:
    """Refuse a file whose header announces no voxel, more than :data:`MAX_VOXELS`, or more than memory has room for.

    Raises:
        CaseError: in one line, with the size announced and what is accepted.
    """
    voxels = math.prod(int(size) for size in shape)
    if voxels == 0:
        raise CaseError(
            f"{case}: {path} has {by(shape)} voxels, so it holds no image; expected at least 1 along every axis: "
            "copy or convert it again"
        )
    if voxels > MAX_VOXELS:
        raise CaseError(
            f"{case}: {path} has {by(shape)} voxels, {voxels / 1e6:.0f} million; accepted: up to "
            f"{MAX_VOXELS / 1e6:.0f} million in a file: crop or resample it"
        )
    needed, free = voxels * BYTES_PER_VOXEL, available_memory()
    if free is not None and needed > free:
        raise CaseError(
            f"{case}: {path} has {by(shape)} voxels, which need {needed / 1e9:.1f} GB of memory while they are read; "
            f"{free / 1e9:.1f} GB are free: close other programs, or crop or resample it"
        )


def available_memory() -> int | None:
    """Bytes that this machine can still hand out; None where the system does not tell."""
    if not _MEMORY.is_file():
        return None
    fields = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None
