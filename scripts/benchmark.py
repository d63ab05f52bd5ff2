"""How long the parts of training and inference take on this machine, and how much memory, as tables and as JSON.

    python scripts/benchmark.py --quick                       a look at everything, under five minutes
    python scripts/benchmark.py steps subsets --naive         against the same work as the published code arranges it
    python scripts/benchmark.py --backbones rfnet --repeats 1 --json rfnet.json
    python scripts/benchmark.py steps scaling --device cuda --amp

`--naive` runs every encoder whatever is present, decodes and compares path by path, and encodes a window anew for every
subset: a ratio to the published arrangement that exists on any machine. It uses the fast kernels of this code, so the
published code itself takes longer. Times are the least of all repeats, ways take turns within one process; ratios are
of CPU time, which other processes disturb less than wall time, on a card of the card's time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from argument_types import at_least_one
from benchmarks.measuring import machine
from benchmarks.operations import count_operations
from benchmarks.steps import BACKBONES, OBJECTIVES, Shape, measure_steps, mixed
from benchmarks.surroundings import measure_loading, measure_starts
from benchmarks.windows import measure_case, measure_subsets

from passion_components.engines.failures import try_folder
from passion_components.files import write_text_atomically


def steps(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """By backbone, objective and number present; then at the mix of missing rates .2, .4, .6, .8."""
    shape = Shape(edge=32 if args.quick else args.edge)
    for backbone in args.backbones:
        for objective in args.objectives:
            found = in_a_process(
                measure_steps, backbone, objective, shape, device,
                counts=(2,) if args.quick else range(1, 5), repeats=args.repeats, naive=args.naive, amp=args.amp,
            )  # fmt: skip
            for row in found:
                yield with_ratio(row, device)
            row = {"backbone": backbone, "objective": objective, "present": "mix"}
            for way in ("ours", "naive"):
                mean = mixed({one["present"]: one[way]["cpu"] for one in found if way in one})
                row |= {} if mean is None else {way: {"cpu": mean}}
            if "ours" in row:
                yield with_ratio(row, device)


def operations(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """Convolutions and matrix products of a step, in 10^12 operations; the same on every machine."""
    for backbone in args.backbones:
        for objective in args.objectives:
            counts = (2,) if args.quick else range(1, 5)
            rows = count_operations(backbone, objective, Shape(edge=args.edge), counts=counts)
            yield from rows
            if (mean := mixed({row["present"]: row["tera_operations"] for row in rows})) is not None:
                yield {"backbone": backbone, "objective": objective, "present": "mix", "tera_operations": mean}


def scaling(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """One thing at a time larger: crop, batch, number of modalities, all of them present; two processes at once."""
    base = Shape(edge=32 if args.quick else 64)
    shapes = {
        "crop": [replace(base, edge=edge) for edge in ((32, 48) if args.quick else (48, 64, 80, 96))],
        "batch": [replace(base, batch=batch) for batch in (1, 2, 4)],
        "modalities": [replace(base, modalities=m, edge=32 if args.quick else 48) for m in (2, 3, 4, 5, 6)],
        "2D": [replace(base, dims=2, modalities=3, classes=2, edge=edge, batch=8) for edge in (64, 96)],
    }
    for backbone in args.backbones[:1] if args.quick else args.backbones:
        for name, several in shapes.items():
            for shape in several:
                arguments = {"counts": [shape.modalities], "repeats": args.repeats, "amp": args.amp}
                for row in in_a_process(measure_steps, backbone, "passion", shape, device, **arguments):
                    yield {"scaled": name, **row}
        arguments = {"counts": [2], "repeats": args.repeats, "amp": args.amp}
        both = in_processes(2, measure_steps, backbone, "passion", base, device, **arguments)
        yield from ({"scaled": f"process {number} of 2", **row} for number, (row,) in enumerate(both, start=1))


def subsets(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """All 15 subsets of a case: each window encoded once, a pass per subset, a pass per subset that encodes all."""
    windows = None if args.full else 1 if args.quick else 2
    for backbone in args.backbones:
        known = {"windows": windows, "edge": 32 if args.quick else 80, "repeats": args.repeats}
        yield with_ratio(in_a_process(measure_subsets, backbone, device, **known), device)


def cases(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """One case from its normalised image to its label map."""
    for backbone in args.backbones:
        for dims, edge, count in ((3, 80, 4), (2, 96, 1)) if args.quick else ((3, 80, 4), (3, 80, 1), (2, 96, 1)):
            yield in_a_process(
                measure_case, backbone, device, dims=dims, edge=32 if args.quick else edge, count=count,
                full=args.full, repeats=1 if args.full else args.repeats,
            )  # fmt: skip


def starts(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """Whole processes."""
    yield from measure_starts(args.repeats)


def loading(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """Seconds per case."""
    with tempfile.TemporaryDirectory() as folder:
        yield from in_a_process(measure_loading, Path(folder), cases=4)


PARTS = {part.__name__: part for part in (steps, operations, subsets, cases, scaling, starts, loading)}


def in_a_process(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The result of work done in a fresh process, whose peak memory is its own."""
    return in_processes(1, work, *args, **kwargs)[0]


def in_processes(number: int, work: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
    """The results of several processes that do the same work at the same time."""
    with ProcessPoolExecutor(number, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [done.result() for done in [pool.submit(work, *args, **kwargs) for _ in range(number)]]


def with_ratio(row: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """With how many times as long the published arrangement takes, where it was measured."""
    if "naive" not in row:
        return row
    clock = "wall" if device.type == "cuda" else "cpu"
    return row | {"naive/ours": row["naive"][clock] / row["ours"][clock]}


def line(row: dict[str, Any]) -> str:
    """A row of the table in the terminal."""
    cells = []
    for name, value in row.items():
        if isinstance(value, dict):
            seconds = " ".join(f"{clock} {value[clock]:.3g} s" for clock in ("cpu", "wall") if clock in value)
            cells.append(f"{name}: {seconds}")
        else:
            cells.append(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}")
    return " | ".join(cells)


def _device(text: str) -> torch.device:
    try:
        return torch.empty(0, device=text).device
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch has no CUDA
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here: {str(error).splitlines()[0]}") from None


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; by default all of them")
    parser.add_argument("--quick", action="store_true", help="small crops, one repeat, two objectives")
    parser.add_argument("--full", action="store_true", help="whole brains of 240 x 240 x 155 voxels; hours on one core")
    parser.add_argument("--naive", action="store_true", help="also as the published code arranges the work")
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast in training")
    parser.add_argument("--device", default="cpu", type=_device)
    parser.add_argument("--edge", type=at_least_one, default=80, help="crop of the steps (default 80)")
    parser.add_argument("--repeats", type=at_least_one, default=3)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, help="default: all; --quick: baseline, passion")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    args = parser.parse_args(given)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; parts are {', '.join(PARTS)}")
    if args.quick:
        args.repeats = 1
    args.objectives = args.objectives or (["baseline", "passion"] if args.quick else list(OBJECTIVES))
    args.parts = args.parts or list(PARTS)
    return args


def measure(args: argparse.Namespace) -> None:
    """Print what the parts find; keep it all in the file that ``--json`` names, which is tried before the first part.

    Raises:
        ValueError: the file cannot be written; a network does not take the size.
    """
    if args.json is not None:
        try_folder(args.json.parent)
        if args.json.is_dir():
            raise ValueError(f"{args.json}: is a folder; name a file with --json")
    told: dict[str, Any] = {"machine": machine(args.device)}
    print(line(told["machine"]), flush=True)
    for part in args.parts:
        print(f"\n{part}: {PARTS[part].__doc__}", flush=True)
        told[part] = []
        for row in PARTS[part](args, args.device):
            told[part].append(row)
            print(line(row), flush=True)
    if args.json is not None:
        write_text_atomically(args.json, json.dumps(told, indent=2, default=str) + "\n")


def main() -> int:
    args = arguments()
    try:
        measure(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
