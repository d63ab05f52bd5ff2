"""``passion predict``: label maps of new scans."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from tqdm.contrib.logging import logging_redirect_tqdm

from passion_components.data.case_names import checked_case_name
from passion_components.data.errors import UserError
from passion_components.data.layouts.case_groups import case_of_file
from passion_components.data.layouts.file_names import named_otherwise
from passion_components.data.layouts.scans import ScanFolder
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.data.reading.image_files import is_image, split_index
from passion_components.datasets import DATASETS, DatasetSpec
from passion_components.engines.failures import error_line
from passion_components.engines.runs import CasesFailed
from passion_components.predict.bundle import read_bundle
from passion_components.predict.runs import Share
from passion_components.predict.runs import predict as predict_cases
from passion_components.predict.segmenter import Segmenter, check_sequences

NOT_STARTED = 2
"""Exit code where nothing could be done, or the run could not go on."""

ScansArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="SCANS | --SEQUENCE FILE ...",
        help="A folder of cases, one case's folder, or a datalist; or every sequence by name: --t1 a.nii.gz.",
        show_default=False,
    ),
]
WeightsDatasetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.json",
        help=f"The data set of the weights, where they do not tell: {', '.join(DATASETS)}, or a JSON file.",
        show_default=False,
    ),
]
OverlapOption = Annotated[
    float | None, typer.Option(help="Share of a window that its neighbour covers.", show_default="the bundle's")
]
ComponentShareOption = Annotated[
    float | None,
    typer.Option(
        help="Remove components below this share of the largest one, 0 to 1; 0: none.", show_default="the bundle's"
    ),
]
ProbabilitiesOption = Annotated[bool, typer.Option("--probabilities", help="Write those of every class as well.")]
DicomSegOption = Annotated[
    bool, typer.Option("--dicom-seg", help="Write a DICOM SEG object that refers to the source series as well.")
]
SchemeOption = Annotated[str | None, typer.Option(help="How label maps are coded.", show_default="as in training")]
ResampleOption = Annotated[
    str | None,
    typer.Option(metavar="SEQUENCE", help="Bring the other sequences of a case to its grid.", show_default=False),
]
RegisterOption = Annotated[
    str | None,
    typer.Option(metavar="SEQUENCE", help="Align the other sequences of a case to it first.", show_default=False),
]
SeriesOption = Annotated[
    str, typer.Option(metavar="t1=4,...", help="Numbers of DICOM series, chosen by hand.", show_default=False)
]
ShardOption = Annotated[
    str, typer.Option(metavar="K/N", help="Do every N-th case only, from number K on.", show_default=False)
]

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True, "token_normalize_func": lambda t: t.replace("_", "-")})
def predict(
    scans: ScansArgument,
    bundle: Annotated[str, typer.Option(help="A bundle's folder, its zip, or the name of a downloaded one.")],
    out: Annotated[Path, typer.Option(help="Folder for the predictions.")],
    ckpt: Annotated[str, typer.Option(help="Weights to use instead of the bundle's own.", show_default=False)] = "",
    dataset: WeightsDatasetOption = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.", show_default="a GPU, if any")] = None,
    amp: Annotated[bool, typer.Option("--amp", help="Compute in bfloat16 where that suffices.")] = False,
    overlap: OverlapOption = None,
    min_component_share: ComponentShareOption = None,
    probabilities: ProbabilitiesOption = False,
    page: Annotated[
        bool, typer.Option("--page", help="Show all cases on one HTML page, OUT/predictions.html.")
    ] = False,
    dicom_seg: DicomSegOption = False,
    label_scheme: SchemeOption = None,
    resample_to: ResampleOption = None,
    register_to: RegisterOption = None,
    allow_copies: Annotated[
        bool, typer.Option("--allow-copies", help="Take a copy for a sequence of its own.")
    ] = False,
    series: SeriesOption = "",
    shard: ShardOption = "",
    force: Annotated[bool, typer.Option("--force", help="Do again what is done already.")] = False,
) -> None:
    """Segment new scans with a bundle, from whatever sequences they have.

    Per case OUT/<case>/<case>_seg.nii.gz in the scan's own grid, and predictions.json: what was
    used, volumes, warnings, and how good such predictions are; OUT/predictions.csv tells of all cases.
    Nothing in the bundle is executed. Cases that are done are not done again, cases that fail are
    listed in failures.json. Under torchrun every process does its part.

        passion predict SCANS --bundle tcga_lgg_rfnet --out OUT

        passion predict --t1 a.nii.gz --flair b.nii.gz --bundle tcga_lgg_rfnet --out OUT

    Exit codes: 0 all cases are done, 1 some failed, 2 nothing could be done, or the run could not go on,
    130 interrupted.
    """
    with _exit_codes(), _console():
        share = Share(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))).within(_share(shard))
        model = read_bundle(bundle, ckpt=ckpt, dataset=dataset)
        found = _found(scans, model.spec, series)
        segmenter = Segmenter(
            model,
            device=device or _own_gpu(),
            amp=amp,
            overlap=overlap,
            min_component_share=min_component_share,
            probabilities=probabilities,
            label_scheme=label_scheme or found.label_scheme,
            resample_to=resample_to,
            register_to=register_to,
            allow_copies=allow_copies,
        )
        predict_cases(segmenter, found, out, share=share, force=force, page=page, dicom_seg=dicom_seg)


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except CasesFailed as error:
        _end(str(error), 1)
    except KeyboardInterrupt as error:
        _end(str(error) or "interrupted", 130)
    except Exception as error:
        line = str(error) if isinstance(error, FileNotFoundError | ValueError) else error_line(error)
        if line is None:
            raise
        _end(line, NOT_STARTED)


def _end(line: str, code: int) -> None:
    typer.echo(f"error: {line}", err=True)
    raise typer.Exit(code)


def _share(text: str) -> Share:
    numbers = re.fullmatch(r"(\d+)/(\d+)", text or "1/1")
    share = Share(int(numbers[1]) - 1, int(numbers[2])) if numbers else None
    if share is None or not 0 <= share.index < share.of:
        raise UserError(f"--shard {text}: expected K/N, like 3/8 for the third of eight parts")
    return share


def _own_gpu() -> str | None:
    """The GPU of this process among those that torchrun has started on one machine."""
    import torch

    local = os.environ.get("LOCAL_RANK")
    return f"cuda:{int(local) % torch.cuda.device_count()}" if local and torch.cuda.is_available() else None


def _found(words: Sequence[str], spec: DatasetSpec, series: str) -> ScanFolder:
    """The cases of ``SCANS``, or the one of ``--t1 FILE`` and so on."""
    if len(words) == 1 and not words[0].startswith("--"):
        if Path(words[0]).is_file() and is_image(Path(words[0])):
            accepted = " or ".join(f"--{name}" for name in spec.modalities)
            raise UserError(f"{words[0]}: is one file; say which sequence it shows, by {accepted} before it")
        return find_scan_cases(words[0], spec, series)
    files = dict(_by_name(words, spec))
    check_sequences(files, spec)
    for name, file in files.items():
        path, _ = split_index(file)
        if not path.exists():
            raise FileNotFoundError(f"--{name} {file}: no such file")
    first = split_index(next(iter(files.values())))[0]
    case = checked_case_name(case_of_file(first.absolute(), spec), str(first))
    ordered = {name: str(Path(files[name]).absolute()) for name in spec.modalities if name in files}
    warnings = [
        f"{case}: {file} is given as {name}, but its name says {other}"
        for name, file in ordered.items()
        if (other := named_otherwise(split_index(file)[0], name, spec))
    ]
    return ScanFolder([{"case": case, **ordered}], warnings=warnings)


def _by_name(words: Sequence[str], spec: DatasetSpec) -> Iterator[tuple[str, str]]:
    names = spec.modalities
    accepted = " ".join(f"--{name} FILE" for name in names)
    left = list(words)
    strange = next((word for word in words if word.startswith("--") and word[2:].partition("=")[0] not in names), None)
    if strange is not None:
        raise UserError(
            f"no such option {strange.partition('=')[0]}{_meant(strange)}; sequences of {spec.name} are {accepted}; "
            f"see --help for the others"
        )
    seen: set[str] = set()
    while left:
        word = left.pop(0)
        name, given, file = word.partition("=")
        if not name.startswith("--"):
            raise UserError(f"{word!r}: one SCANS is accepted, or sequences by name: {accepted}")
        name = name[2:]
        file = file if given or not left else left.pop(0)
        if name in seen or not file:
            raise UserError(f"--{name}: expected one file after it, once")
        seen.add(name)
        yield name, file


def _meant(option: str) -> str:
    """A hint at the option of this command that is spelt almost so."""
    known = [name for parameter in typer.main.get_command(app).params for name in parameter.opts]
    close = get_close_matches(option.partition("=")[0], known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


@contextmanager
def _console() -> Iterator[None]:
    """What the package logs, on stdout, above the bar."""
    outlet = logging.StreamHandler(sys.stdout)
    outlet.setFormatter(_Line())
    logger = logging.getLogger("passion_components")
    level = logger.level
    logger.addHandler(outlet)
    logger.setLevel(logging.INFO)
    try:
        with logging_redirect_tqdm([logger]):
            yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(outlet)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"
