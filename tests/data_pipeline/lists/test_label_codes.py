"""Which scheme label files are taken to be coded by, and what is refused."""

import re
from pathlib import Path

import pytest

from passion_components.data.layouts.found_cases import FoundCases
from passion_components.data.lists.label_codes import codes_that_never_meet, detect_scheme, numbers
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG

OLD, NEW = (0, 1, 2, 4), (0, 1, 2, 3)


def detected(*values, name="P{n}/P{n}_flair.nii.gz", classes=None, spec=BRATS2020):
    """Scheme and notes for label files that hold these values."""
    cases = [{"case": f"P{n}", "flair": "/data/" + name.format(n=n), "label": f"l{n}.nii"} for n in range(len(values))]
    found = FoundCases(cases, classes=classes or {})
    scheme = detect_scheme(found, {f"P{n}": of_case for n, of_case in enumerate(values)}, spec)
    return scheme, found.notes


class TestValues:
    def test_codes_that_one_scheme_alone_knows(self):
        assert detected(OLD, (0, 1, 2)) == ("brats2020", [])
        assert detected((0, 200, 500, 600, 1220, 2221), spec=MYOPS2020) == ("myops2020", [])
        assert detected((0, 1), (0,), spec=TCGA_LGG) == ("tcga_lgg", [])
        assert detected((0,), ()) == ("brats2020", [])

    def test_codes_of_two_schemes_in_files_of_their_own_are_refused_by_case(self):
        with pytest.raises(ValueError, match="coded in different ways") as caught:
            detected(OLD, NEW, OLD)
        assert "3 in 1 case (P1); 4 in 2 cases (P0, P2)" in str(caught.value) and "--label-scheme" in str(caught.value)

    def test_a_file_that_holds_both_says_that_they_belong_together(self):
        assert codes_that_never_meet({"a": OLD, "b": NEW}, BRATS2020) == "3 in 1 case (b); 4 in 1 case (a)"
        assert codes_that_never_meet({"a": OLD, "b": NEW, "c": (0, 3, 4)}, BRATS2020) is None
        assert codes_that_never_meet({"a": OLD, "b": (0, 1)}, BRATS2020) is None

    @pytest.mark.parametrize(
        ("values", "first", "other"),
        [
            (NEW, "brats2023", "msd (0 = 0, 1 = 2, 2 = 1, 3 = 3)"),
            ((0, 1, 2), "brats2020", "msd (0 = 0, 1 = 2, 2 = 1, 3 = 3)"),
            ((0, 1, 2, 3, 4), "brats2024", "bratspeds (0 = 0, 1 = 3, 2 = 1, 3 = 1, 4 = 2)"),
        ],
    )
    def test_what_schemes_read_differently_is_said(self, values, first, other):
        scheme, (note,) = detected(values)
        assert scheme == first and f"taken as {first}" in note and other in note

    def test_values_that_nobody_knows_are_noted_not_listed_by_the_thousand(self):
        scheme, (note,) = detected(tuple(range(1000)))
        assert scheme == "brats2020" and "8, 9, 10, 11 and 988 more values; no scheme of brats2020" in note
        assert numbers([3, 1]) == "1, 3" and numbers([]) == "none"


class TestNames:
    @pytest.mark.parametrize(
        ("values", "scheme"), [(NEW, "brats2023"), ((0, 1, 2), "brats2023"), ((0, 3, 4), "brats2024")]
    )
    def test_names_since_2023(self, values, scheme):
        assert detected(values, name="BraTS-GLI-{n}-000-t2f.nii.gz") == (scheme, [])

    def test_codes_of_children_are_others_than_those_of_adults(self):
        """BraTS-PEDs has had 1 for what enhances and 4 for edema since 2024, in 2023 it was coded as for adults."""
        peds = "BraTS-PED-{n}-000-t2f.nii.gz"
        assert detected((0, 1, 2, 3, 4), (0, 2), NEW, name=peds) == ("bratspeds", [])
        scheme, (note,) = detected(NEW, name=peds)
        assert scheme == "brats2023" and "which brats2023 and bratspeds read differently" in note
        _, necrotic, edema, enhancing = range(len(BRATS2020.classes))
        assert BRATS2020.codes("bratspeds") == {0: 0, 1: enhancing, 2: necrotic, 3: necrotic, 4: edema}

    def test_names_of_the_decathlon(self):
        assert detected(NEW, name="imagesTr/BRATS_00{n}.nii.gz#3") == ("msd", [])
        assert detected(NEW, name="imagesTr/BRATS_00{n}_0001.nii.gz") == ("msd", [])

    def test_names_that_contradict_the_codes_are_refused(self):
        with pytest.raises(
            ValueError, match="names of the files are those of brats2023 or brats2024; expected its codes"
        ):
            detected(OLD, name="BraTS-GLI-{n}-000-t2f.nii.gz")


class TestDescriptions:
    @pytest.mark.parametrize(
        ("classes", "scheme"),
        [
            ({"whole tumor": (1, 2, 3), "tumor core": (2, 3), "enhancing tumor": (3,)}, "msd"),
            ({"whole tumor": (1, 2, 3), "tumor core": (1, 3), "enhancing tumor": (3,)}, "brats2023"),
            ({"Whole_Tumour": (1, 2, 3), "TC": (2, 3)}, "msd"),
            ({"edema": (1,), "non-enhancing tumor": (2,)}, "msd"),
            ({"Oedema": (2,)}, "brats2023"),
            ({"ET": (1,), "NET": (2,), "CC": (3,), "ED": (4,)}, "bratspeds"),
        ],
    )
    def test_regions_and_classes_tell_the_codes(self, classes, scheme):
        assert detected(NEW, classes={"background": (0,), **classes}) == (scheme, [])

    def test_one_that_no_scheme_agrees_with_is_refused(self):
        with pytest.raises(ValueError, match="says edema = 3; no label scheme of brats2020 agrees: brats2020"):
            detected(NEW, classes={"edema": (3,)})
        with pytest.raises(ValueError, match=re.escape("says whole tumor = 1 2; no label scheme")):
            detected(NEW, classes={"whole tumor": (1, 2)})

    def test_one_that_leaves_the_scheme_open_is_refused(self):
        with pytest.raises(ValueError, match="fits brats2023 and msd; expected the code of every class"):
            detected(NEW, classes={"background": (0,), "whole tumor": (1, 2, 3), "ET": (3,)})

    def test_values_that_contradict_it_are_refused(self):
        with pytest.raises(ValueError, match="label files hold 0, 1, 2, 4, but their description says edema = 1"):
            detected(OLD, classes={"edema": (1,)})

    def test_it_says_that_a_code_is_the_cavity(self):
        assert detected((0, 4), NEW, classes={"resection cavity": (4,)}) == ("brats2024", [])


@pytest.mark.parametrize(
    ("name", "schemes"),
    [
        ("a/BraTS-GLI-1-t1n.nii.gz", ("brats2023", "brats2024")),
        ("P.1-T2F.mha", ("brats2023", "brats2024")),
        ("BraTS-PED-00002-000-t1n.nii.gz", ("brats2023", "bratspeds")),
        ("BRATS_001.nii.gz#2", ("msd",)),
        ("BraTS2021_00001_t1ce.nii.gz", ()),
        ("P1_t2w.nii.gz", ()),
    ],
)
def test_schemes_that_a_name_speaks_for(name, schemes):
    assert BRATS2020.schemes_of_file(Path(name)) == schemes
