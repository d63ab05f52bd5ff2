"""Does PASSION help? The cross-validated study of docs/results.md, training by training, and the tables made of it.

    passion prepare lgg kaggle_3m --out data/lgg
    passion prepare brats BraTS2021_TrainingData --dataset brats2021 --out data/brats
    python scripts/reproduce.py --plan
    python scripts/reproduce.py --lgg data/lgg --brats data/brats --work runs        # goes on where it was stopped
    python scripts/reproduce.py --lgg data/lgg --work runs --only lgg_a/baseline lgg_a/passion
    python scripts/reproduce.py --table --figures                                    # from the committed rows alone

Every training is a bundle's own command, on one thread; as many run at once as ``--processes`` says. Its rows, one per
patient, subset, region and metric, are appended to docs/results/*.csv when it is done, and nothing is done twice.
Patients other than those of the committed rows are a study of your own: add ``--results FOLDER`` to all of these
commands; its rows and figures are in FOLDER then, its tables in FOLDER.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from argument_types import at_least_one
from reproduction import rows
from reproduction.grid import STUDIES, Job, jobs
from reproduction.runs import RunFailed, command, dataset_of, run, stop
from tqdm import tqdm

from passion_components.data.lists.datalist import Datalist

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"


def chosen(only: Sequence[str]) -> list[Job]:
    """Jobs of the grid whose names begin with one of ``only``; all of them where it is empty.

    Raises:
        ValueError: a word with which no job begins.
    """
    everything = list(jobs())
    for word in only:
        if not any(_begins(job, word) for job in everything):
            accepted = ", ".join(_accepted(word, everything))
            raise ValueError(f"nothing in the grid begins with {word!r}; accepted: {accepted}")
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
                told = isinstance(error, RunFailed | ValueError | OSError)
                failed.append(f"{doing[future].name}: {error if told else repr(error)}")
                tqdm.write(failed[-1], file=sys.stderr)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        raise
    pool.shutdown()
    return failed


def _folders(waiting: Sequence[Job], given: Mapping[str, Path | None]) -> dict[str, Path]:
    """The folder of every data set that the jobs need.

    Raises:
        ValueError: none is given, or one without a datalist of the bundle's data set.
    """
    folders = {}
    for name, study in STUDIES.items():
        if not any(job.study == name for job in waiting):
            continue
        folder = given[study.data]
        if folder is None:
            raise ValueError(f"{name} needs --{study.data} DIR; or say with --only what to do without it")
        listed = Datalist(folder.resolve() / "datalist.json")
        named, expected = listed.dataset(), dataset_of(study)
        if named != expected:
            raise ValueError(
                f"{listed.path} names {named.name if named else 'no data set'}, expected {expected.name}; "
                "write it with passion prepare"
            )
        folders[study.data] = folder.resolve()
    return folders


def _report(results: Path, *, table: bool, figures: bool) -> None:
    """The tables, into the page that is named like the folder of the rows, and the figures, into the folder.

    Raises:
        ValueError: there are no rows, so the name of the folder may be misspelt.
    """
    from reproduction.figures import write_figures
    from reproduction.tables import write_tables

    if not rows.finished(results):
        raise ValueError(f"{results / 'runs.csv'}: holds no training; name with --results a folder that has rows")
    if table:
        write_tables(results.with_name(f"{results.name}.md"), results)
    if figures:
        write_figures(results)


def _begins(job: Job, word: str) -> bool:
    return f"{job.name}/".startswith(f"{word}/")


def _accepted(word: str, everything: Sequence[Job]) -> list[str]:
    """What could stand in place of ``word``, as far as the first of its parts that is wrong."""
    parts = word.split("/")
    names: list[str] = []
    for depth in range(1, len(parts) + 1):
        jobs_here = [job for job in everything if depth == 1 or _begins(job, "/".join(parts[: depth - 1]))]
        names = list(dict.fromkeys("/".join(job.name.split("/")[:depth]) for job in jobs_here))
        if "/".join(parts[:depth]) not in names:
            break
    return names


def _minutes(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lgg", type=Path, help="folder that `passion prepare lgg` wrote")
    parser.add_argument("--brats", type=Path, help="folder that `passion prepare brats --dataset brats2021` wrote")
    parser.add_argument("--work", type=Path, help="folder for what is not kept")
    parser.add_argument("--only", nargs="+", default=[], metavar="STUDY[/SETTING[/foldN_seedN]]", help="in this order")
    parser.add_argument("--processes", type=at_least_one, default=os.cpu_count(), help="at once; default: one a core")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the rows; default: docs/results")
    parser.add_argument("--plan", action="store_true", help="say what is done and left, and how long it takes")
    parser.add_argument("--table", action="store_true", help="write the tables anew, from the rows into RESULTS.md")
    parser.add_argument("--figures", action="store_true", help="draw the figures anew, from the rows into RESULTS")
    args = parser.parse_args()
    results = args.results.resolve()
    try:
        found = chosen(args.only)
        if args.plan:
            print(plan(found, results))
        if args.table or args.figures:
            _report(results, table=args.table, figures=args.figures)
        if args.plan or args.table or args.figures:
            return 0
        waiting = left(found, results)
        folders = _folders(waiting, {"lgg": args.lgg, "brats": args.brats})
        if args.work is None:
            raise ValueError("expected --work DIR, a folder for what is not kept")
        args.work.mkdir(parents=True, exist_ok=True)
        with rows.locked(results):
            pass  # so that what cannot be written to is told before the first training
    except (ValueError, OSError) as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = work_off(waiting, folders, args.work.resolve(), results, args.processes)
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    if others := len(left(waiting, results)) - len(failed):
        print(f"{others} not done here, because another program is doing them", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(waiting)} failed; the same command tries them again", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
