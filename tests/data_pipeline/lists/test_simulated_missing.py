import json

import numpy as np
import pytest

from passion_components.data.lists.datalist import Datalist, presence_table, write_datalist
from passion_components.data.lists.missing_rates import draw_presence, parse_rates, simulate_missing

MODALITIES = ("flair", "t1ce", "t1", "t2")
RATES = {"t1": 0.2, "t1ce": 0.4, "flair": 0.6, "t2": 0.8}


def complete(n: int, m: int = 4) -> np.ndarray:
    return np.ones((n, m), dtype=bool)


def counts(presence: np.ndarray) -> dict[tuple[int, ...], int]:
    rows, n = np.unique(presence.astype(int), axis=0, return_counts=True)
    return {tuple(row): count for row, count in zip(rows.tolist(), n.tolist(), strict=True)}


class TestQuota:
    def test_every_combination_gets_its_expected_number(self):
        # MR .5 and .2: P(a) = .5 * .2, P(b) = .5 * .8, P(a+b) = .5 * .8, of .9: 1/9, 4/9, 4/9
        presence = draw_presence(complete(18, 2), {"b": 0.2, "a": 0.5}, ("a", "b"), seed=0)
        assert counts(presence) == {(1, 0): 2, (0, 1): 8, (1, 1): 8}

    def test_what_is_left_goes_to_the_largest_remainders(self):
        # 10 * (1, 4, 4) / 9 = 1.1, 4.4, 4.4: the tenth case goes to b, the first of the two
        presence = draw_presence(complete(10, 2), {"a": 0.5, "b": 0.2}, ("a", "b"), seed=1)
        assert counts(presence) == {(1, 0): 1, (0, 1): 5, (1, 1): 4}

    def test_realised_rates_are_close_to_those_without_the_all_missing_mass(self):
        presence = draw_presence(complete(200), RATES, MODALITIES, seed=0)
        nothing = 0.2 * 0.4 * 0.6 * 0.8
        for name, realised in zip(MODALITIES, (~presence).mean(0).tolist(), strict=True):
            assert realised == pytest.approx((RATES[name] - nothing) / (1 - nothing), abs=0.03)

    def test_seed_decides_which_case_gets_which(self):
        def draw(seed):
            return draw_presence(complete(40), RATES, MODALITIES, seed=seed)

        assert np.array_equal(draw(3), draw(3)) and not np.array_equal(draw(3), draw(4))
        assert counts(draw(3)) == counts(draw(4))

    def test_zero_rates_remove_nothing(self):
        assert draw_presence(complete(5), dict.fromkeys(MODALITIES, 0.0), MODALITIES, seed=0).all()


class TestBernoulli:
    def test_combinations_are_drawn_case_by_case(self):
        first, other = (
            draw_presence(complete(900, 2), {"a": 0.5, "b": 0.2}, ("a", "b"), seed=s, method="bernoulli")
            for s in (0, 1)
        )
        assert counts(first) != counts(other)
        for drawn in (first, other):
            assert counts(drawn)[1, 0] == pytest.approx(100, abs=40) and counts(drawn)[0, 1] == pytest.approx(
                400, abs=60
            )


@pytest.mark.parametrize("method", ["quota", "bernoulli"])
class TestGuarantees:
    def test_no_case_is_left_with_nothing_and_no_modality_without_a_case(self, method):
        for n, seed in [(1, 0), (2, 1), (3, 2), (5, 3), (5, 4)]:
            presence = draw_presence(complete(n), dict.fromkeys(MODALITIES, 0.95), MODALITIES, seed=seed, method=method)
            assert presence.any(1).all() and presence.any(0).all()

    def test_what_a_case_lacks_it_keeps_lacking(self, method):
        available = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 0]] * 10, dtype=bool)
        presence = draw_presence(available, RATES, MODALITIES, seed=0, method=method)
        assert not (presence & ~available).any() and presence.any(1).all() and presence.any(0).all()

    def test_any_number_of_modalities(self, method):
        assert draw_presence(complete(3, 1), {"a": 0.9}, ("a",), seed=0, method=method).all()
        names = tuple("abcdef")
        presence = draw_presence(complete(50, 6), dict.fromkeys(names, 0.5), names, seed=0, method=method)
        assert presence.any(1).all() and 0.3 < presence.mean() < 0.7


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("t1=.2,t1ce=.4,flair=.6", "rates: none given for t2; expected one for each of flair, t1ce, t1, t2"),
            ("t1=.2,t1ce=.4,flair=.6,t2=1", "missing rate of t2 is 1; expected 0 or more and below 1"),
            ("t1=-.2,t1ce=.4,flair=.6,t2=.1", "missing rate of t1 is -0.2"),
            ("t1=.2,t1c=.4,flair=.6,t2=.8", r"unknown modality 't1c' \(did you mean t1ce\?\); accepted: flair"),
            ("t1=.2;t2=.4", "is not name=number; write it like flair=.5"),
        ],
    )
    def test_rates_are_refused_by_name(self, text, message):
        with pytest.raises(ValueError, match=message):
            parse_rates(text, MODALITIES)

    def test_rates_may_stand_in_any_order(self):
        parsed = parse_rates("t2=.8,flair=.6,t1ce=.4,t1=.2", MODALITIES)
        assert list(parsed.items()) == [("flair", 0.6), ("t1ce", 0.4), ("t1", 0.2), ("t2", 0.8)]

    def test_a_modality_that_no_case_has(self):
        with pytest.raises(ValueError, match="no case has b"):
            draw_presence(np.array([[True, False]]), {"a": 0.1, "b": 0.1}, ("a", "b"), seed=0)

    def test_no_cases(self):
        with pytest.raises(ValueError, match="expected at least one case"):
            draw_presence(complete(0), RATES, MODALITIES, seed=0)

    def test_an_unknown_method(self):
        with pytest.raises(ValueError, match="unknown method 'random'; accepted: quota, bernoulli"):
            draw_presence(complete(3), RATES, MODALITIES, seed=0, method="random")


class TestDatalist:
    @pytest.fixture
    def source(self, tmp_path):
        def case(part, number):
            name = f"{part}{number}"
            return {"case": name, **{key: str(tmp_path / "in" / name / key) for key in (*MODALITIES, "label")}}

        parts = {part: [case(part, number) for number in range(n)] for part, n in [("training", 20), ("test", 3)]}
        return write_datalist(tmp_path / "in" / "datalist.json", parts)

    def test_only_training_cases_lose_modalities(self, source, tmp_path):
        before = Datalist(source).parts(MODALITIES)
        presence = simulate_missing(Datalist(source), tmp_path / "out.json", RATES, MODALITIES, seed=1037)
        after = Datalist(tmp_path / "out.json").parts(MODALITIES)
        assert after["test"] == before["test"] and Datalist(source).parts(MODALITIES) == before
        assert np.array_equal(presence_table(after["training"], MODALITIES), presence)
        for full, reduced in zip(before["training"], after["training"], strict=True):
            assert reduced.items() <= full.items() and "label" in reduced

    def test_paths_are_rewritten_for_the_new_folder(self, source, tmp_path):
        simulate_missing(Datalist(source), tmp_path / "out.json", RATES, MODALITIES, seed=0)
        assert json.loads((tmp_path / "out.json").read_text())["test"][0]["t1"] == "in/test0/t1"

    def test_realised_rates_are_those_of_the_file(self, source, tmp_path):
        presence = simulate_missing(Datalist(source), tmp_path / "out.json", RATES, MODALITIES, seed=0)
        realised = Datalist(tmp_path / "out.json").missing_rates(MODALITIES)
        assert list(realised.values()) == (~presence).mean(0).tolist()

    def test_the_same_seed_writes_the_same_list(self, source, tmp_path):
        hashes = []
        for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
            simulate_missing(Datalist(source), tmp_path / name / "d.json", RATES, MODALITIES, seed=seed)
            hashes.append(Datalist(tmp_path / name / "d.json").hash())
        assert hashes[0] == hashes[1] != hashes[2]

    def test_the_complete_datalist_is_never_overwritten(self, source):
        with pytest.raises(ValueError, match="would overwrite the complete datalist"):
            simulate_missing(Datalist(source), source, RATES, MODALITIES, seed=0)

    def test_errors_name_the_datalist(self, tmp_path):
        path = write_datalist(tmp_path / "d.json", {"training": [{"case": "P", "t1": "x"}]})
        with pytest.raises(ValueError, match=r"d\.json: no case has flair"):
            simulate_missing(Datalist(path), tmp_path / "out.json", RATES, MODALITIES, seed=0)
        write_datalist(path, {"training": [], "test": []})
        with pytest.raises(ValueError, match=r"d\.json: has no training cases"):
            simulate_missing(Datalist(path), tmp_path / "out.json", RATES, MODALITIES, seed=0)
