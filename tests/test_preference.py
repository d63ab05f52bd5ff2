import logging

import pytest
import torch

from passion_components.preference import RelativePreference, relative_preference

NAMES = ("flair", "t1ce", "t1")


@pytest.fixture
def preference() -> RelativePreference:
    return RelativePreference(modalities=NAMES, missing_rates={"t1": 0.75, "flair": 0.0, "t1ce": 0.5}, gamma=0.1)


class TestRelativePreferenceOfASample:
    def test_by_hand_whatever_the_order_of_pairs(self):
        distance = torch.tensor([1.0, 5.0, 3.0, 1.0, 2.0])
        sample = torch.tensor([0, 1, 0, 1, 0])
        expected = torch.tensor([0.5, 1 - 5 / 3, -0.5, 1 - 1 / 3, 0.0])
        torch.testing.assert_close(relative_preference(distance, sample, 2), expected)

    def test_sums_to_zero_over_a_sample(self):
        distance = torch.rand(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        rp = relative_preference(distance, torch.tensor([0, 0, 0, 0, 1, 1, 1]), 2)
        assert rp[:4].sum().abs() < 1e-12 and rp[4:].sum().abs() < 1e-12 and rp.abs().min() > 0.01

    def test_single_modality_is_neither_preferred_nor_neglected(self):
        assert relative_preference(torch.tensor([0.3, 0.0]), torch.tensor([0, 1]), 2).tolist() == [0, 0]

    def test_zero_distances_give_zero(self):
        rp = relative_preference(torch.tensor([0.0, 0.0, 1.0, 3.0]), torch.tensor([0, 0, 1, 1]), 2)
        assert rp.tolist() == [0, 0, 0.5, -0.5]


class TestBeta:
    def test_starts_at_one_over_the_share_that_is_there(self, preference):
        assert preference.beta.tolist() == [1, 2, 4]

    def test_falls_where_a_modality_is_preferred(self, preference):
        average = preference.update(torch.tensor([1.0, -4.0, 0.5]), torch.tensor([2, 8, 1]))
        assert average == {"flair": 0.5, "t1ce": -0.5, "t1": 0.5}
        torch.testing.assert_close(preference.beta, torch.tensor([0.95, 2.05, 3.95]))

    def test_average_moves_nothing(self, preference):
        assert preference.average(torch.tensor([1.0, -4.0, 0.5]), torch.tensor([2, 8, 1]))["t1ce"] == -0.5
        assert preference.beta.tolist() == [1, 2, 4]

    def test_a_modality_without_samples_keeps_it(self, preference):
        average = preference.update(torch.tensor([1.0, 0.0, -1.0]), torch.tensor([1, 0, 1]))
        assert average["t1ce"] == 0 and preference.beta[1] == 2

    def test_never_turns_negative_and_warns_once(self, preference, caplog):
        preference.beta = torch.tensor([0.15, 2.0, 4.0])
        with caplog.at_level(logging.WARNING):
            for expected in (0.05, 0.0, 0.0):
                preference.update(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1, 1, 1]))
                assert preference.beta[0].item() == pytest.approx(expected)
        assert [record.getMessage() for record in caplog.records] == [
            "beta of flair would turn negative and is held at 0"
        ]

    def test_an_update_replaces_the_tensor(self, preference):
        before = preference.beta
        preference.update(torch.ones(3), torch.ones(3))
        assert before.tolist() == [1, 2, 4]


class TestState:
    def test_survives_a_file_read_without_executing_it(self, preference, tmp_path):
        preference.update(torch.tensor([0.1, 0.2, -0.3]), torch.tensor([3, 3, 3]))
        torch.save(preference.state_dict(), tmp_path / "state.pt")
        other = RelativePreference(modalities=NAMES, missing_rates=dict.fromkeys(NAMES, 0.0))
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert torch.equal(other.beta, preference.beta)

    def test_belongs_to_names_not_to_positions(self, preference):
        other = RelativePreference(modalities=NAMES[::-1], missing_rates=dict.fromkeys(NAMES, 0.0))
        other.load_state_dict(preference.state_dict())
        assert other.beta.tolist() == [4, 2, 1]

    def test_of_other_modalities_is_refused(self, preference):
        other = RelativePreference(modalities=("lge", "t2"), missing_rates={"lge": 0.0, "t2": 0.0})
        with pytest.raises(ValueError, match="expected the preference of flair, t1ce, t1, got that of lge, t2"):
            preference.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"missing_rates": {"flair": 0.1}}, "missing_rates must name flair, t1ce, t1, got flair"),
        ({"missing_rates": {"flair": 0.1, "t1ce": 1.0, "t1": 0}}, r"t1ce must be in \[0, 1\), got 1.0"),
        ({"missing_rates": {"flair": -0.1, "t1ce": 0.5, "t1": 0}}, r"flair must be in \[0, 1\), got -0.1"),
        ({"gamma": -1}, "gamma must not be negative, got -1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(changes, message):
    arguments = {"modalities": NAMES, "missing_rates": dict.fromkeys(NAMES, 0.0)} | changes
    with pytest.raises(ValueError, match=message):
        RelativePreference(**arguments)
