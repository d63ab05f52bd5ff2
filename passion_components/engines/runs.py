"""Training, evaluation and inference as a bundle runs them."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

import ignite.distributed as idist
from monai.data import list_data_collate
from monai.engines import SupervisedTrainer
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from passion_components.data.errors import UserError
from passion_components.data.layouts.scans import ScanFolder
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.split_files import write_split
from passion_components.data.outputs import locked, remove_own
from passion_components.data.training.dataset import CaseDataset
from passion_components.datasets import DatasetSpec
from passion_components.engines.evaluator import SubsetEvaluator
from passion_components.engines.failures import disk_line, error_line, in_words, try_folder
from passion_components.engines.weights import load_weights, start_from, warn_of_training_cases
from passion_components.engines.weights_input import DATASET_FILE, WeightsInput
from passion_components.files import read_text, write_text_atomically
from passion_components.handlers.predictions import remove_predictions
from passion_components.metrics.record import EvaluationRecord

logger = logging.getLogger(__name__)

_FAILURES_MARK = '"reason": '


class CasesFailed(UserError):
    """Some cases failed and are listed, the others are done."""


def start(
    *,
    network: nn.Module,
    modalities: Sequence[str],
    ckpt: str,
    trained: WeightsInput,
    resume: bool,
    spec: DatasetSpec,
    datalist: Datalist,
    output_dir: Path | str,
) -> None:
    """What stands before the first epoch: the weights of ``ckpt``, if there is one; beside ours the list of cases.

    A data set that no bundle is made for goes there too, so that nothing else is needed to use the weights.

    Raises:
        UserError: weights that do not fit or are not there; ``ckpt`` in a resumed training.
    """

    def run() -> None:
        if ckpt and resume:
            raise UserError(
                "--ckpt with --resume True: a resumed training goes on from its own state; leave --ckpt out"
            )
        if ckpt:
            start_from(network, ckpt=ckpt, trained=trained, modalities=modalities)
        if idist.get_rank() == 0:
            try_folder(output_dir)
            write_split(datalist, output_dir, modalities)
            if spec.file is not None:
                write_text_atomically(Path(output_dir) / DATASET_FILE, read_text(spec.file))

    in_words(run, interrupted="nothing was trained yet")


def train(*, trainer: SupervisedTrainer, dataset: CaseDataset, validation: CaseDataset, output_dir: Path | str) -> None:
    """Fill the caches and train; the ranks of a distributed run share the work of filling and the files.

    Rank 0 keeps ``output_dir`` locked.

    Raises:
        UserError: a case that cannot be read, no room for the caches, a checkpoint that belongs to another run.
    """
    rank, world_size = idist.get_rank(), idist.get_world_size()

    def run() -> None:
        if rank == 0:
            dataset.clear_cache()
            validation.clear_cache()
            validation.fill_cache()
        idist.barrier()
        dataset.fill_cache(rank, world_size)
        idist.barrier()
        trainer.run()

    def run_locked() -> None:
        if rank == 0:
            try_folder(output_dir)
        with locked(output_dir, "training") if rank == 0 else nullcontext():
            try:
                run()
            finally:
                if rank == 0:
                    dataset.clear_cache()
                    validation.clear_cache()

    in_words(run_locked, interrupted="go on from the last complete epoch with --resume True")


def evaluate(
    *,
    evaluator: SubsetEvaluator,
    dataset: CaseDataset,
    record: EvaluationRecord,
    network: nn.Module,
    ckpt: str,
    output_dir: Path | str,
    bundle_root: Path | str,
    write_table: Callable[[], None],
) -> None:
    """Score the cases of ``dataset`` that the record does not hold yet, and write all of their scores.

    What fails is listed and does not stop the rest. Of the ranks of a distributed run the first one does the work.

    Args:
        evaluator: puts scores into ``record``.
        dataset: the cases.
        record: knows what an earlier run has done with the same weights, settings and files.
        network: gets the weights that :func:`load_weights` finds.
        ckpt: weights to use, or "".
        output_dir: for the weights of a training that was made there; ``failures.json`` goes there if there is any.
        bundle_root: the bundle, for its own weights.
        write_table: called when the record is written.

    Raises:
        UserError: weights that do not fit or are not there; at the end, if a case failed.
    """
    if idist.get_rank() or int(os.environ.get("RANK", 0)):  # torchrun also starts configs that set up no process group
        logger.info("the first of the ranks evaluates")
        return

    def run() -> None:
        weights = load_weights(network, ckpt=ckpt, output_dir=output_dir, bundle_root=bundle_root)
        evaluator.state.weights = weights
        warn_of_training_cases(weights, [case["case"] for case in dataset.cases])
        total = len(dataset)
        remove_own(Path(output_dir) / "failures.json", _FAILURES_MARK)
        done = record.open(dataset.cases, dataclasses.asdict(weights))
        dataset.leave_out(done)
        failed = _run_cases(evaluator, dataset, progress="evaluating")
        if len(failed) < total:
            record.write()
            write_table()
        _report(failed, total, Path(output_dir) / "failures.json")

    def run_locked() -> None:
        try_folder(output_dir)
        with locked(output_dir, "evaluating"):
            run()

    in_words(run_locked, interrupted="the cases that are done are kept, the same command does the others")


def _run_cases(
    evaluator: SubsetEvaluator,
    dataset: CaseDataset,
    *,
    before: Callable[[Mapping[str, str]], None] = lambda case: None,
    progress: str | None = None,
) -> list[tuple[str, str]]:
    """Give the evaluator case by case; returns the names of those that fail, with a line each.

    Args:
        evaluator: its data loader says how many processes read ahead; where that is none, a thread does.
        dataset: the cases.
        before: called with each case's entries, before its batch.
        progress: what the bar says; None: no bar.
    """
    workers = getattr(evaluator.data_loader, "num_workers", 0)
    readable = _Readable(dataset)
    batches = (
        DataLoader(readable, batch_size=1, num_workers=workers, collate_fn=list_data_collate)
        if workers
        else _read_ahead(readable)
    )
    failed = []
    for entries, batch in zip(
        dataset.cases,
        tqdm(batches, progress, len(dataset), unit="case", disable=None if progress else True),
        strict=True,
    ):
        case = entries["case"]
        try:
            before(entries)
            message = batch["failure"][0] if "failure" in batch else None
            if message is None:
                evaluator.run_case(batch)
        except Exception as error:
            message = _failure_line(case, error)
        if message is not None:
            logger.error(message)
            failed.append((case, message))
    return failed


class _Readable(Dataset):
    """The items of a dataset; in the place of one that cannot be read its name and why, as ``failure``."""

    def __init__(self, dataset: CaseDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        try:
            return self.dataset[index]
        except Exception as error:
            case = self.dataset.cases[index]["case"]
            return {"case": case, "failure": _failure_line(case, error)}


def _read_ahead(dataset: _Readable) -> Iterator[dict]:
    """Batches of one item; a thread reads the next one, and no more than that, while one is in use."""

    def read(index: int) -> dict:
        batch: dict = list_data_collate([dataset[index]])
        return batch

    with ThreadPoolExecutor(1) as thread:
        reading: Future[dict] | None = None
        for index in range(len(dataset) + 1):
            wanted, reading = reading, thread.submit(read, index) if index < len(dataset) else None
            if wanted is not None:
                yield wanted.result()


def infer(
    *,
    evaluator: SubsetEvaluator,
    dataset: CaseDataset,
    scans: ScanFolder,
    network: nn.Module,
    ckpt: str,
    output_dir: Path | str,
    bundle_root: Path | str,
) -> None:
    """Segment the cases of ``dataset`` one after the other; what fails is listed and does not stop the rest.

    Args:
        evaluator: its handlers write the predictions.
        dataset: the cases of ``scans``.
        scans: what was found, with notes and with cases that were refused before they were read.
        network: gets the weights that :func:`load_weights` finds.
        ckpt: weights to use, or "".
        output_dir: where ``failures.json`` goes, if there is any failure.
        bundle_root: the bundle, for its own weights.

    Raises:
        UserError: weights that do not fit or are not there; at the end, if a case failed.
    """

    def run() -> None:
        try_folder(output_dir)
        weights = load_weights(network, ckpt=ckpt, output_dir=output_dir, bundle_root=bundle_root)
        evaluator.state.weights = weights
        warn_of_training_cases(weights, [case["case"] for case in dataset.cases])
        with locked(output_dir, "inference"):
            segment(evaluator=evaluator, dataset=dataset, scans=scans, output_dir=output_dir)

    in_words(run, interrupted="the cases that are done are kept")


def segment(
    *,
    evaluator: SubsetEvaluator,
    dataset: CaseDataset,
    scans: ScanFolder,
    output_dir: Path | str,
    failures: str = "failures.json",
    progress: str | None = None,
) -> None:
    """The part of :func:`infer` that needs a lock of ``output_dir`` and weights in the evaluator's network.

    Args:
        evaluator: its handlers write the predictions.
        dataset: the cases.
        scans: where they come from.
        output_dir: from which earlier predictions of the cases are removed.
        failures: name of the file there that lists what failed.
        progress: what the bar says; None: no bar.

    Raises:
        CasesFailed: at the end, if a case failed.
        UserError: one that the other cases would meet as well.
    """
    path = Path(output_dir) / failures
    remove_own(path, _FAILURES_MARK)
    for note in scans.notes:
        logger.info(note)
    for warning in scans.warnings:
        logger.warning(warning)
    failed = list(scans.failures)
    for case, message in failed:
        logger.error(message)
        with suppress(UserError):
            remove_predictions(output_dir, case)
    failed += _run_cases(
        evaluator, dataset, before=lambda case: remove_predictions(output_dir, **case), progress=progress
    )
    _report(failed, len(dataset) + len(scans.failures), path)


def _report(failed: Sequence[tuple[str, str]], total: int, path: Path) -> None:
    """Say how many cases are done; list the failures in ``path`` and raise where there are any."""
    done = f"{total - len(failed)} of {total} cases done"
    if not failed:
        if total:
            logger.info(done)
        return
    text = json.dumps([{"case": case, "reason": reason} for case, reason in failed], indent=2)
    write_text_atomically(path, text + "\n")
    raise CasesFailed(f"{done}, {len(failed)} failed (listed in {path})")


def _failure_line(case: str, error: Exception) -> str:
    """One case's failure in a line that names the case.

    Raises:
        UserError: the disk is full or the folder may not be written, which the other cases would find as well.
    """
    line = error_line(error)
    if line is not None and line == disk_line(error):
        raise UserError(line) from error
    line = line or f"{type(error).__name__}: {' '.join(str(error).split())}"
    return line if case in line else f"{case}: {line}"
