"""Time and memory of work, and the machine that it ran on."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import monai
import torch

import passion_components


def machine(device: torch.device) -> dict[str, Any]:
    """What decides how long work takes."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "device": str(device),
        "passion_components": passion_components.__version__,
        "torch": torch.__version__,
        "monai": monai.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """Its name, and whether it multiplies bfloat16 by itself."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in named.items()}
    name = f"{facts.get('model name', platform.processor())}, model {facts.get('model')}"
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()]
    return ", ".join([name, *flags])


def take_turns(
    works: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Seconds of each work, which are done in turn as often as asked for, after each was done once.

    Returns:
        By work: ``cpu`` and ``wall``, the least of all repeats: what other processes add is never negative. On CUDA
        ``wall`` is what the card took by its own clock, read once everything is done.
    """
    for work in works.values():
        work()
    seconds: dict[str, list[tuple[float, Any]]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            cpu, stop = time.process_time(), clock(device)
            work()
            seconds[name].append((time.process_time() - cpu, stop()))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return {
        name: {"cpu": min(cpu for cpu, _ in found), "wall": min(wall() for _, wall in found)}
        for name, found in seconds.items()
    }


def clock(device: torch.device) -> Callable[[], Callable[[], float]]:
    """Starts a clock; called, it stops it and gives what tells the seconds between, on CUDA once all work is done."""
    if device.type != "cuda":
        start = time.perf_counter()

        def stop() -> Callable[[], float]:
            wall = time.perf_counter() - start
            return lambda: wall

        return stop
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()

    def stop_events() -> Callable[[], float]:
        end.record()
        return lambda: begin.elapsed_time(end) / 1000

    return stop_events


def peak_memory(device: torch.device) -> float:
    """GB: on CUDA the most that tensors took, elsewhere the most that the process has held so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
