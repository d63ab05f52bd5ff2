"""Does PASSION help? The cross-validated study of docs/results.md, training by training, and the tables made of it.

    passion prepare lgg kaggle_3m --out data/lgg
    passion prepare brats brats2021 --dataset brats2021 --out data/brats
    python scripts/reproduce.py --plan
    python scripts/reproduce.py --lgg data/lgg --brats data/brats --work runs        # goes on where it was stopped
    python scripts/reproduce.py --lgg data/lgg --work runs --only lgg_a/baseline lgg_a/passion
    python scripts/reproduce.py --table --figures                                    # from the committed rows alone

Every training is a bundle's own command, on one thread; as many run at once as ``--processes`` says. Its rows, one per
patient, subset, region and metric, are appended to docs/results/*.csv when it is done, and nothing is done twice.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from reproduction import rows
from reproduction.grid import STUDIES, Job, jobs
from reproduction.runs import RunFailed, command, run, stop
from tqdm import tqdm

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "results"


def chosen(only: Sequence[str]) -> list[Job]:
    """Jobs of the grid whose names begin with one of ``only``; all of them where it is empty.

    Raises:
        ValueError: a word with which no job begins.
    """
    everything = list(jobs())
    for word in only:
        if not any(_begins(job, word) for job in everything):
            raise ValueError(
                f"nothing in the grid begins with {word!r}; accepted: {', '.join(STUDIES)}, or one/SETTING"
            )
    found = [job for job in everything if not only or any(_begins(job, word) for word in only)]
    return sorted(found, key=lambda job: next((i for i, word in enumerate(only) if _begins(job, word)), 0))


def left(found: Sequence[Job], results: Path) -> list[Job]:
    """Jobs without rows.

    Raises:
        ValueError: rows that another command has made than the grid now says.
    """
    done = rows.finished(results)
    for job in found:
        if job in done and done[job]["command"] != command(job):
            raise ValueError(
                f"{results}: the rows of {job.name} were made by another command than the grid says now; remove them "
                f"(its line in runs.csv is enough) to have it trained again\n  was {done[job]['command']}\n"
                f"  now {command(job)}"
            )
    return [job for job in found if job not in done]


def plan(found: Sequence[Job], results: Path) -> str:
    """What is done and what is left of every study and setting, with CPU hours taken and expected."""
    done, waiting = rows.finished(results), left(found, results)
    spent: dict[tuple[str, str], list[float]] = {}
    for job in found:
        if job in done:
            spent.setdefault((job.study, job.setting), []).append(rows.cpu_seconds(done[job]))
    lines, expected, unknown = [], 0.0, 0
    for key in dict.fromkeys((job.study, job.setting) for job in found):
        times = spent.get(key) or [
            seconds for other, several in spent.items() if other[0] == key[0] for seconds in several
        ]
        of_all, to_do = (sum((job.study, job.setting) == key for job in several) for several in (found, waiting))
        each = sum(times) / len(times) / 60 if times else None
        expected, unknown = (expected + each * to_do, unknown) if each is not None else (expected, unknown + to_do)
        lines.append(f"{'/'.join(key):32} {of_all - to_do:3} of {of_all:3} done, {_minutes(each)} CPU minutes each")
    taken = sum(sum(times) for times in spent.values()) / 3600
    last = f"taken: {taken:.1f} CPU hours; left: about {expected / 60:.1f}"
    return "\n".join([*lines, last + (f", and {unknown} trainings of studies not measured yet" if unknown else "")])


def work_off(
    waiting: Sequence[Job], folders: Mapping[str, Path], work: Path, results: Path, processes: int
) -> list[str]:
    """Do the jobs, several at once; returns one line for each that failed. An interruption stops those that run."""
    failed = []
    pool = ThreadPoolExecutor(processes)
    try:
        doing = {pool.submit(run, job, folders[STUDIES[job.study].data], work, results): job for job in waiting}
        for future in tqdm(as_completed(doing), total=len(doing), unit="run"):
            if error := future.exception():
                failed.append(f"{doing[future].name}: {error if isinstance(error, RunFailed) else repr(error)}")
                tqdm.write(failed[-1], file=sys.stderr)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        raise
    pool.shutdown()
    return failed


def _begins(job: Job, word: str) -> bool:
    return f"{job.name}/".startswith(f"{word}/")


def _minutes(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lgg", type=Path, help="folder that `passion prepare lgg` wrote")
    parser.add_argument("--brats", type=Path, help="folder that `passion prepare brats --dataset brats2021` wrote")
    parser.add_argument("--work", type=Path, help="folder for what is not kept")
    parser.add_argument("--only", nargs="+", default=[], metavar="STUDY[/SETTING[/FOLD_SEED]]", help="in this order")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trainings at once; default: one a core")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows; default: docs/results")
    parser.add_argument("--plan", action="store_true", help="say what is done and left, and how long it takes")
    parser.add_argument("--table", action="store_true", help="write the tables of docs/results.md anew from the rows")
    parser.add_argument("--figures", action="store_true", help="draw the figures of docs/results.md from the rows")
    args = parser.parse_args()
    try:
        found = chosen(args.only)
        if args.plan:
            print(plan(found, args.results))
        reads_only = args.plan or args.table or args.figures
        waiting = [] if reads_only else left(found, args.results)
    except ValueError as error:
        parser.error(str(error))
    if args.table or args.figures:
        from reproduction.figures import write_figures
        from reproduction.tables import write_tables

        if args.table:
            write_tables(DOCS / "results.md", args.results)
        if args.figures:
            write_figures(args.results)
    if reads_only:
        return 0
    folders = {name: path.resolve() for name, path in (("lgg", args.lgg), ("brats", args.brats)) if path is not None}
    for name, study in STUDIES.items():
        if study.data not in folders and any(job.study == name for job in waiting):
            parser.error(f"{name} needs --{study.data} DIR; or say with --only what to do without it")
    if args.work is None:
        parser.error("expected --work DIR, a folder for what is not kept")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = work_off(waiting, folders, args.work.resolve(), args.results.resolve(), args.processes)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
