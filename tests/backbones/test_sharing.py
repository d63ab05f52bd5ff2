import torch

from passion_components.backbones.base import Features
from passion_components.backbones.sharing import Sharing


class TestSharing:
    def features(self, rows, n_rows):
        return Features((torch.arange(n_rows, dtype=torch.float32)[:, None],), torch.tensor(rows))

    def test_samples_of_equal_counts_stand_together_and_come_back_in_order(self):
        features = self.features([[0, -1, -1], [1, 2, 3], [-1, 2, -1], [0, 2, -1]], 4)
        sharing = Sharing.of(features)
        level = sharing.used_rows(features.levels[0])
        per_sample = torch.cat([group.rows_of(level).sum(1) for group in sharing.groups])
        assert [len(group.member) for group in sharing.groups] == [2, 1, 1]
        assert sharing.in_order(per_sample).flatten().tolist() == [0, 6, 2, 2]
        assert sharing.modality.tolist() == [0, 0, 1, 2]
        members = torch.cat([group.member.any(1) for group in sharing.groups])
        assert torch.equal(sharing.in_order(members), features.rows >= 0)

    def test_rows_that_no_sample_uses_are_left_out(self):
        features = self.features([[-1, 3], [1, -1]], 4)
        sharing = Sharing.of(features)
        assert sharing.used_rows(features.levels[0]).flatten().tolist() == [1, 3]
        assert sharing.modality.tolist() == [0, 1]
        (group,) = sharing.groups
        assert group.rows_of(sharing.used_rows(features.levels[0])).flatten().tolist() == [3, 1]

    def test_nothing_is_copied_where_all_rows_are_used_in_order(self):
        features = self.features([[0, 1, 2]], 3)
        for rows in (features, features.alone()):
            sharing = Sharing.of(rows)
            assert sharing.chosen is None and sharing.position is None and sharing.groups[0].rows is None
