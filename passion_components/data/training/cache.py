"""Preprocessed cases as uncompressed files that are read through memory mapping."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from passion_components.data.errors import UserError

logger = logging.getLogger(__name__)
_GIB = 2**30


class CaseCache:
    """Items of tensors and plain values by index; the tensors lie in files, so that processes share one copy.

    The system keeps in memory what it has room for; a crop reads only the pages that it touches. What another process
    has put in is found too, as plain tensors.

    Args:
        folder: for the files; belongs to the cache alone.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._items: dict[int, dict[str, Any]] = {}

    def clear(self) -> None:
        """Forget everything and remove the files of the cache, and the folder where nothing else lies in it."""
        self._items = {}
        for file in self.folder.glob("[0-9]*_*.npy"):
            file.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
            self.folder.parent.rmdir()

    def put(self, index: int, item: Mapping[str, Any]) -> None:
        """Keep an item; its tensors must be on the CPU."""
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = dict(item)
        for key, value in item.items():
            if isinstance(value, torch.Tensor):
                file = self._file(index, key)
                np.save(file, value.numpy())
                mapped = _mapped(file)
                if isinstance(value, MetaTensor):
                    mapped = MetaTensor(mapped, meta=value.meta, applied_operations=value.applied_operations)
                kept[key] = mapped
        self._items[index] = kept

    def get(self, index: int) -> dict[str, Any]:
        """A copy of an item's entries, their tensors mapped; changes in place stay in this process.

        Raises:
            KeyError: nothing was put under this index.
        """
        if index not in self._items:
            files = sorted(self.folder.glob(f"{index}_*.npy"))
            if not files:
                raise KeyError(index)
            self._items[index] = {file.stem.partition("_")[2]: _mapped(file) for file in files}
        return dict(self._items[index])

    def check_room(self, item: Mapping[str, Any], count: int) -> None:
        """Tell how much ``count`` items like this one take.

        Raises:
            UserError: more than the disk has free.
        """
        need = count * sum(value.nbytes for value in item.values() if isinstance(value, torch.Tensor))
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise UserError(
                f"{self.folder}: caching {count} cases takes about {need / _GIB:.1f} GiB, the disk has "
                f"{free / _GIB:.1f} GiB free; make room, name another --output_dir, or train with --cache False"
            )
        logger.info(
            "caching %d cases takes about %.2f GiB in %s; %.2f GiB of memory are free to keep it in",
            *(count, need / _GIB, self.folder, _available_memory() / _GIB),
        )

    def _file(self, index: int, key: str) -> Path:
        return self.folder / f"{index}_{key}.npy"


def _mapped(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def _available_memory() -> int:
    """Bytes that processes can get without swapping, by Linux's own estimate; 0 where that is not to be had."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
