"""How failures reach the user: one line where the cause is known, a traceback where it is a bug.

What goes wrong while a bundle runs is raised as :class:`~passion_components.data.errors.UserError`, an ordinary
exception. MONAI wraps what an item of a run list raises, so from Python it arrives as a ``RuntimeError`` whose
``__cause__`` it is, and :func:`error_line` gives its line. On the command line, and there alone, the line takes the
place of the traceback. Exit codes are Python's own: 1, and 130 in a shell after Ctrl-C.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import torch
from monai.utils import OptionalImportError

from passion_components.data.errors import UserError, chain, memory_wanted
from passion_components.files import file_in_the_way

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EROFS, errno.EACCES, errno.EPERM)
_TRIED_BYTES = 2**16
_COMPONENT = re.compile(r"Failed to instantiate component '(?:\w+\.)*([A-Z]\w*)' with")
"""How MONAI begins when a class, not a function, refuses an argument."""
_IN_WORKER = re.compile(r"\b(?:CaseError|UserError): (.*)")
_ARGUMENT = re.compile(r"__init__\(\).* (?:unexpected keyword|missing) .*|got an unexpected keyword argument")
_TEXTS = (
    (
        r"unable to (?:open|allocate|resize|write to file|mmap).*(?:shared memory|</?torch_)"
        r"|killed by signal: Bus error|out of shared memory",
        "the loader processes have too little shared memory (/dev/shm); give a container more of it "
        "(docker run --shm-size 4g), or run with --num_workers 0",
    ),
    (
        r"DataLoader worker.*(?:killed by signal|exited unexpectedly)",
        "a loader process was ended from outside, most likely because memory ran out; run with fewer --num_workers",
    ),
    (
        r"Torch not compiled with CUDA|no NVIDIA driver|No CUDA GPUs are available|invalid device ordinal"
        r"|Expected one of cpu, cuda|Invalid device string",
        "this device cannot be used here; --device takes cpu, cuda or cuda:1 and so on, "
        "where such a GPU and a PyTorch built for it are there",
    ),
)


def on_command_line() -> bool:
    """Whether this process is ``python -m monai.bundle``, whose arguments and console belong to the bundle."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == "monai.bundle.__main__"


def tell_in_one_line() -> None:
    """From now on, what ends ``python -m monai.bundle`` and has an :func:`error_line` is told by it alone."""
    if on_command_line():
        sys.excepthook = _tell
        _log_to_console()


def _log_to_console() -> None:
    """Print what a bundle prints, where no ``logging.conf`` lies beside the config, as it does in the bundle."""
    if not logging.getLogger().handlers and "--logging_file" not in sys.argv:
        logging.basicConfig(
            stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
        )
        logging.getLogger("ignite.engine.engine").setLevel(logging.WARNING)


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        print(str(error) or "interrupted", file=sys.stderr)
        return
    line = error_line(error)
    if line is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        print(f"error: {line}", file=sys.stderr)


def error_line(error: BaseException) -> str | None:
    """What a user should read of an exception, through wrappers and loader processes; None where it is a bug."""
    for cause in chain(error):
        text = str(cause)
        told = _IN_WORKER.search(text)
        if told:
            return told[1].strip()
        if isinstance(cause, UserError):
            return text
    return next((line for line in map(_known, chain(error)) if line is not None), None)


def _known(error: BaseException) -> str | None:
    """The line of an exception that is not ours, where its cause is known."""
    text = str(error)
    for pattern, line in _TEXTS:
        if isinstance(error, RuntimeError | AssertionError) and re.search(pattern, text):
            return line
    component = _COMPONENT.match(text)
    if component:
        return _refused_argument(component[1], error.__cause__)
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"the GPU's memory does not suffice ({text.split('. ')[1] if '. ' in text else text}); take a smaller "
            "--batch_size in training, a smaller --sw_batch_size and --aggregate_on_cpu True otherwise, or --device cpu"
        )
    wanted = memory_wanted(error)
    if wanted is not None:
        return (
            f"memory does not suffice{wanted}; take a smaller --sw_batch_size or --num_workers, in training also a "
            "smaller --batch_size or a coarser --spacing, or a machine with more"
        )
    return disk_line(error)


def _refused_argument(component: str, cause: BaseException | None) -> str | None:
    """The line of a component that the config, or the command line, gives arguments which it refuses."""
    text = " ".join(str(cause).split())
    if isinstance(cause, ValueError | OptionalImportError) or (isinstance(cause, TypeError) and _ARGUMENT.search(text)):
        return f"{component}: {text}"
    return None


def disk_line(error: BaseException, folder: Path | str = "") -> str | None:
    """The line of a disk that is full or of a folder that may not be written, None for any other exception."""
    for cause in chain(error, contexts=True):  # of torch.save the context tells the reason, the error does not
        if not isinstance(cause, OSError) or cause.errno not in (*_NO_ROOM, *_NO_RIGHT):
            continue
        where = f"{folder or cause.filename}: " if folder or cause.filename else ""
        what = os.strerror(cause.errno).lower()
        if cause.errno in _NO_ROOM:
            return f"{where}{what}; what was complete is kept: make room, or name another output folder"
        return f"{where}{what}; change who may write there, or name another output folder"
    return None


def in_words(run: Callable[[], None], *, interrupted: str) -> None:
    """Run, and turn what is known into a UserError of one line; the engines' own words about it are left out.

    Args:
        run: called without arguments.
        interrupted: what Ctrl-C leaves and how to go on.

    Raises:
        UserError: for whatever has an :func:`error_line`.
        KeyboardInterrupt: saying ``interrupted``. Loader processes end with this one and say nothing.
    """
    with _engines_silent(), _interrupts_here_alone():
        try:
            run()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {interrupted}") from None
        except Exception as error:
            line = error_line(error)
            if line is None or (isinstance(error, UserError) and str(error) == line):
                raise
            raise UserError(line) from error


def try_folder(folder: Path | str) -> None:
    """Write into a folder for output, before anything is computed for it.

    Raises:
        UserError: it cannot be made or written, or its disk is full.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial = folder / f".partial-{os.getpid()}-trial"
        try:
            with open(trial, "wb") as file:
                file.write(bytes(_TRIED_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            trial.unlink(missing_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{file_in_the_way(error.filename or folder)}: is a file; name a folder for the output"
        ) from error
    except OSError as error:
        raise UserError(disk_line(error, folder) or f"{folder}: cannot be written: {error.strerror}") from error


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a log record is no repetition of an exception that its engine, or a loader process, raises as well."""
    return (
        record.name != "dev_collate"
        and record.funcName != "exception_raised"
        and "is terminating due to exception" not in str(record.msg)
    )


@contextmanager
def _engines_silent() -> Iterator[None]:
    """Ignite's engines and MONAI's handlers log every exception, with its traceback, before they raise it."""
    loggers = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]  # MONAI's have their own outlets
    of_loggers = {handler for logger in loggers if isinstance(logger, logging.Logger) for handler in logger.handlers}
    outlets = of_loggers | ({logging.lastResort} if logging.lastResort else set())
    for handler in outlets:
        handler.addFilter(_is_news)
    try:
        yield
    finally:
        for handler in outlets:
            handler.removeFilter(_is_news)


@contextmanager
def _interrupts_here_alone() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal; those that start meanwhile leave the answer to this one."""
    main, before = os.getpid(), signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return

    def interrupt(*_: object) -> None:
        if os.getpid() == main:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
