"""A data set from its JSON file.

Keys are the attributes of :class:`~passion_components.datasets.spec.DatasetSpec`; where those hold class indices the
file has names of classes. ``modalities`` is a list of names, or an object of names with their spellings.
``label_codes``, and every entry of ``other_label_schemes`` and ``further_label_schemes``, is an object with a code as
key and a class as value::

    {"name": "stroke", "modalities": {"dwi": ["trace"], "adc": []}, "classes": ["background", "infarct"],
     "label_codes": {"0": "background", "1": "infarct"}, "spatial_dims": 3, "spacing": [2, 2, 2], "crop": [64, 64, 64]}
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passion_components.datasets.spec import DatasetSpec, plain, spelling
from passion_components.files import read_text, unique_keys

FOREGROUNDS = ("nonzero", "above_background")
SKULL = ("expected", "unexpected", None)
REQUIRED = ("name", "modalities", "classes", "label_codes", "spatial_dims", "spacing", "crop")
OPTIONAL = (
    *("label_words", "regions", "orientation", "foreground", "crop_to_foreground", "central", "skull", "axial_slices"),
    *("class_weights", "other_label_schemes", "further_label_schemes", "class_names", "scheme_file_names"),
)

_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
_TAKEN = ("case", "label", "part", "patient", "visit")
_AXES = ("LR", "AP", "SI")
_MAX_CODE = 2**31 - 1
_MAX_MODALITIES = 10
_MAX_CLASSES = 256
"""Indices are kept as uint8."""


def read_dataset(path: Path | str) -> DatasetSpec:
    """The data set that a JSON file describes.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is not as described above, in one line.
    """
    content = _load(Path(path))
    try:
        return _spec(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _load(path: Path) -> Any:
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected the JSON file of a data set") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected the JSON file of a data set") from None
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: is not valid JSON: {error.msg} in line {error.lineno}") from None
    except RecursionError:
        raise ValueError(f"{path}: is nested too deeply; expected the JSON file of a data set") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _spec(content: Any) -> DatasetSpec:
    if not isinstance(content, dict):
        raise ValueError(f"expected an object that describes a data set, got {_shown(content)}")
    for key in content:
        if key not in (*REQUIRED, *OPTIONAL):
            raise ValueError(f"unknown key {key!r}; accepted: {', '.join((*REQUIRED, *OPTIONAL))}")
    for key in REQUIRED:
        if key not in content:
            raise ValueError(f"{key} is missing; a data set has at least {', '.join(REQUIRED)}")
    return DatasetSpec(**_naming(content), **_labels(content), **_geometry(content))


def _naming(content: Mapping[str, Any]) -> dict[str, Any]:
    """Names, and the words by which files are known."""
    name = content["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"name must be letters and digits, with - or _ between them, got {_shown(name)}")
    modalities = content["modalities"]
    if not isinstance(modalities, dict):
        modalities = {word: [] for word in _names("modalities", modalities)}
    spellings = {word: _names(f"modalities: {word}", own, least=0) for word, own in modalities.items()}
    for word in spellings:
        if not _NAME.fullmatch(word) or word.lower() in _TAKEN:
            raise ValueError(
                f"modalities: {word!r} cannot name a sequence; expected letters and digits, with - or _ between them, "
                f"and none of {', '.join(_TAKEN)}"
            )
    if not spellings:
        raise ValueError("modalities: expected at least one sequence, got none")
    if len(spellings) > _MAX_MODALITIES:
        raise ValueError(
            f"modalities: got {len(spellings)}; accepted: up to {_MAX_MODALITIES}, because all their subsets are scored"
        )
    found: dict[str, Any] = {"name": name, "modalities": tuple(spellings), "spellings": spellings}
    meanings = [(word, key) for key, own in spellings.items() for word in {spelling(each) for each in (key, *own)}]
    if "label_words" in content:
        found["label_words"] = _names("label_words", content["label_words"])
    meanings += [(spelling(word), "a label map") for word in found.get("label_words", DatasetSpec.label_words)]
    of_word: dict[str, str] = {}
    for word, meaning in meanings:
        if of_word.setdefault(word, meaning) != meaning:
            raise ValueError(f"{word!r} stands for {of_word[word]} and for {meaning}; expected one meaning for a word")
    return found


def _labels(content: Mapping[str, Any]) -> dict[str, Any]:
    """Classes, and what stands for them."""
    classes = _names("classes", content["classes"], least=2)
    if len(classes) > _MAX_CLASSES:
        raise ValueError(f"classes: got {len(classes)}; accepted: up to {_MAX_CLASSES}")
    schemes: dict[str, dict[str, dict[int, int]]] = {"other_label_schemes": {}, "further_label_schemes": {}}
    taken = {content["name"]: "label_codes"}
    for key, found in schemes.items():
        for name, codes in _object(key, content.get(key, {})).items():
            if name in taken:
                raise ValueError(f"{key}: {name} is the scheme of {taken[name]}; choose another name")
            taken[name], found[name] = key, _codes(f"{key}: {name}", codes, classes)
    weights = content.get("class_weights")
    patterns = _object("scheme_file_names", content.get("scheme_file_names", {}))
    for pattern, of_pattern in patterns.items():
        _check_pattern(pattern, of_pattern, tuple(taken))
    regions = _groups("regions", content.get("regions", {word: [word] for word in classes[1:]}), classes)
    if not regions:
        raise ValueError("regions: expected at least one region to score, got none; leave the key out for each class")
    return {
        "classes": classes,
        "label_codes": _codes("label_codes", content["label_codes"], classes),
        "regions": regions,
        "class_weights": None if weights is None else _numbers("class_weights", weights, len(classes)),
        **schemes,
        "class_names": {
            plain(key): indices
            for key, indices in _groups("class_names", content.get("class_names", {}), classes).items()
        },
        "scheme_file_names": {pattern: tuple(of_pattern) for pattern, of_pattern in patterns.items()},
    }


def _geometry(content: Mapping[str, Any]) -> dict[str, Any]:
    """What networks see of an image, and what a scan is expected to be."""
    dims = content["spatial_dims"]
    if isinstance(dims, bool) or dims not in (2, 3):
        raise ValueError(f"spatial_dims must be 3, or 2 where slices are the samples, got {_shown(dims)}")
    dims = int(dims)  # of 3.0, as some programs write whole numbers
    crop = _numbers("crop", content["crop"], dims)
    if any(value != int(value) for value in crop):
        raise ValueError(f"crop must be whole numbers of voxels, got {_shown(content['crop'])}")
    found: dict[str, Any] = {"spatial_dims": dims, "spacing": _numbers("spacing", content["spacing"], dims)}
    found["crop"] = tuple(map(int, crop))
    for key in ("central", "crop_to_foreground", "axial_slices"):
        if key in content:
            found[key] = _choice(key, content[key], (True, False))
    if "orientation" in content:
        found["orientation"] = _orientation(content["orientation"])
    if "foreground" in content:
        found["foreground"] = _choice("foreground", content["foreground"], FOREGROUNDS)
    if "skull" in content:
        found["skull"] = _choice("skull", content["skull"], SKULL)
    return found


def _object(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be an object, got {_shown(value)}")
    return value


def _names(key: str, value: Any, least: int = 1) -> tuple[str, ...]:
    """A list of at least ``least`` different names."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        raise ValueError(f"{key} must be a list of names, got {_shown(value)}")
    if len(value) < least:
        raise ValueError(f"{key} must have at least {least} names, got {_shown(value)}")
    for name in value:
        if value.count(name) > 1:
            raise ValueError(f"{key}: {name!r} stands twice; expected every name once")
    return tuple(value)


def _numbers(key: str, value: Any, count: int) -> tuple[float, ...]:
    """A list of ``count`` finite numbers above 0."""
    kinds = value if isinstance(value, list) else [None]
    if len(kinds) != count or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number) and number > 0
        for number in kinds
    ):
        raise ValueError(f"{key} must be {count} numbers above 0, got {_shown(value)}")
    return tuple(map(float, kinds))


def _choice(key: str, value: Any, accepted: Sequence[Any]) -> Any:
    if not any(value is each or (isinstance(each, str) and value == each) for each in accepted):
        raise ValueError(f"{key} must be one of {', '.join(map(json.dumps, accepted))}, got {_shown(value)}")
    return value


def _codes(key: str, value: Any, classes: Sequence[str]) -> dict[int, int]:
    """Code -> class index; every class has a code of its own."""
    codes: dict[int, int] = {}
    for code, name in _object(key, value).items():
        if not code.isascii() or not code.isdecimal() or int(code) > _MAX_CODE:
            raise ValueError(f"{key}: the code {code!r} must be a whole number from 0 to {_MAX_CODE}")
        if int(code) in codes:
            raise ValueError(f"{key}: the code {int(code)} stands twice; expected every code once")
        codes[int(code)] = _index(key, name, classes)
    for index, name in enumerate(classes):
        if index not in codes.values():
            raise ValueError(f"{key}: {name!r} has no code; expected at least one for every class")
    return codes


def _groups(key: str, value: Any, classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Name -> indices of the classes that it consists of."""
    return {
        name: tuple(_index(f"{key}: {name}", each, classes) for each in _names(f"{key}: {name}", members))
        for name, members in _object(key, value).items()
    }


def _index(key: str, name: Any, classes: Sequence[str]) -> int:
    if name not in classes:
        raise ValueError(f"{key}: {_shown(name)} is no class; accepted: {', '.join(classes)}")
    return classes.index(name)


def _check_pattern(pattern: str, schemes: Any, accepted: Sequence[str]) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"scheme_file_names: {pattern!r} is no regular expression: {error}") from None
    for scheme in _names(f"scheme_file_names: {pattern}", schemes):
        _choice(f"scheme_file_names: {pattern}", scheme, accepted)


def _orientation(value: Any) -> str | None:
    axes = (
        [next((pair for pair in _AXES if letter in pair), None) for letter in value] if isinstance(value, str) else []
    )
    if value is not None and (len(axes) != 3 or set(axes) != set(_AXES)):
        raise ValueError(
            f"orientation must be three letters, one of L R, one of A P and one of S I, or null, got {_shown(value)}"
        )
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
