import pytest
import torch

from passion_components.transforms.drop import RandDropModalitiesd, keep_subset


@pytest.fixture
def presence() -> torch.Tensor:
    return torch.tensor([True, False, True, True])


class TestRandDropModalities:
    def test_never_adds_and_never_empties(self, presence):
        drop = RandDropModalitiesd(["presence"]).set_random_state(0)
        for _ in range(100):
            reduced = drop({"presence": presence})["presence"]
            assert reduced.any() and not (reduced & ~presence).any()

    def test_all_subsets_are_equally_likely(self, presence):
        drop = RandDropModalitiesd(["presence"]).set_random_state(0)
        counts: dict[tuple, int] = {}
        for _ in range(7000):
            key = tuple(drop({"presence": presence})["presence"].tolist())
            counts[key] = counts.get(key, 0) + 1
        assert len(counts) == 7 and all(abs(n - 1000) < 150 for n in counts.values())  # 5 sigma

    def test_half_the_probability_reduces_half_of_the_cases_at_most(self, presence):
        drop = RandDropModalitiesd("presence", prob=0.5).set_random_state(0)
        complete = sum(torch.equal(drop({"presence": presence})["presence"], presence) for _ in range(2000))
        assert abs(complete - 2000 * (0.5 + 0.5 / 7)) < 112  # 5 sigma

    def test_zero_probability_changes_nothing(self, presence):
        assert torch.equal(RandDropModalitiesd(["presence"], prob=0.0)({"presence": presence})["presence"], presence)

    def test_same_seed_same_subsets(self, presence):
        def draw():
            drop = RandDropModalitiesd(["presence"]).set_random_state(3)
            return [drop({"presence": presence})["presence"].tolist() for _ in range(5)]

        assert draw() == draw()

    def test_several_keys_are_reduced_to_the_same_subset(self, presence):
        drop = RandDropModalitiesd(["presence", "fused_presence"]).set_random_state(0)
        for _ in range(30):
            item = drop({"presence": presence, "fused_presence": presence.clone()})
            assert torch.equal(item["presence"], item["fused_presence"])

    def test_other_presence_is_left_alone(self, presence):
        drop = RandDropModalitiesd(["fused_presence"]).set_random_state(0)
        items = [drop({"presence": presence, "fused_presence": presence.clone()}) for _ in range(20)]
        assert all(torch.equal(item["presence"], presence) for item in items)
        assert any(not torch.equal(item["fused_presence"], presence) for item in items)

    def test_the_input_is_left_alone(self, presence):
        before = presence.clone()
        drop = RandDropModalitiesd(["presence"]).set_random_state(0)
        for _ in range(20):
            drop({"presence": presence})
        assert torch.equal(presence, before)

    def test_keys_that_differ_before_the_draw_are_refused(self, presence):
        item = {"presence": presence, "fused_presence": torch.ones(4, dtype=torch.bool)}
        with pytest.raises(ValueError, match="'fused_presence' is .* expected the same as 'presence'"):
            RandDropModalitiesd(["presence", "fused_presence"])(item)

    def test_a_case_without_modalities_is_refused_by_name(self):
        with pytest.raises(ValueError, match="'presence': the case has no modality"):
            RandDropModalitiesd(["presence"])({"presence": torch.zeros(4, dtype=torch.bool)})

    @pytest.mark.parametrize("prob", [-0.1, 1.1])
    def test_a_probability_outside_its_range_is_refused(self, prob):
        with pytest.raises(ValueError, match=r"prob must be in \[0, 1\]"):
            RandDropModalitiesd(["presence"], prob=prob)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0b001, [1, 0, 0, 0]), (0b010, [0, 0, 1, 0]), (0b100, [0, 0, 0, 1]), (0b111, [1, 0, 1, 1])],
)
def test_bit_i_keeps_the_i_th_present_modality(presence, code, expected):
    present = presence.nonzero().flatten()
    assert keep_subset(presence, present, code).int().tolist() == expected
