import torch

from passion_components.backbones.base import Features
from passion_components.backbones.channel_attention import (
    ChannelAttention,
    ChannelNorm,
    ChannelTransformer,
    ConvFFN,
    Pairs,
)
from passion_components.backbones.sharing import Sharing

ROWS = torch.tensor([[0, -1, 2], [-1, 1, -1], [-1, 1, 3]])


def pairs_of(rows):
    features = Features((torch.zeros(int(rows.max()) + 1, 1),), rows)
    return Pairs.of(Sharing.of(features), rows.shape[1])


class TestPairs:
    def test_stand_group_by_group_and_sort_by_modality(self):
        pairs = pairs_of(ROWS)
        assert pairs.groups == [(2, 2), (1, 1)] and pairs.counts == [1, 2, 2]
        names = torch.tensor([0, 2, 1, 2, 1])  # samples 0 and 2 have two modalities, sample 1 has one
        assert names[pairs.by_modality].tolist() == [0, 1, 1, 2, 2]
        assert torch.equal(pairs.by_modality[pairs.back], torch.arange(5))

    def test_are_handed_out_per_group(self):
        parts = pairs_of(ROWS).per_group(torch.arange(5))
        assert [part.tolist() for part in parts] == [[[0, 1], [2, 3]], [[4]]]


def attention():
    torch.manual_seed(0)
    return ChannelAttention(n_modalities=3, spatial_dims=2, channels=4).double().eval()


@torch.no_grad()
def test_channels_attend_to_the_channels_of_present_modalities():
    module, pairs = attention(), pairs_of(ROWS)
    query, features = torch.randn(3, 4, 2, 5).double(), torch.randn(5, 4, 2, 5).double()
    result = module(query, features, pairs)
    held = [(0, [(0, 0), (1, 2)]), (1, [(2, 1), (3, 2)]), (2, [(4, 1)])]
    for sample, of_sample in held:
        q = module.query(query[sample : sample + 1]).flatten(2)[0]
        k = torch.cat([module.keys[m](features[p : p + 1]).flatten(2)[0] for p, m in of_sample])
        v = torch.cat([module.values[m](features[p : p + 1]).flatten(2)[0] for p, m in of_sample])
        attended = (q @ k.t() / 10**0.5).softmax(-1) @ v
        expected = query[sample] + module.out(attended.view(1, 4, 2, 5))[0]
        torch.testing.assert_close(result[sample], expected)


@torch.no_grad()
def test_features_pass_a_shared_ffn_after_the_first_layer():
    torch.manual_seed(0)
    module, pairs = ChannelTransformer(n_modalities=3, spatial_dims=2, channels=4).double().eval(), pairs_of(ROWS)
    query, features = torch.randn(3, 4, 2, 2).double(), torch.randn(5, 4, 2, 2).double()
    first = module.query_ffns[0](module.attentions[0](query, features, pairs))
    second = module.attentions[1](first, module.feature_ffns[0](features), pairs)
    torch.testing.assert_close(module(query, features, pairs), module.query_ffns[1](second))


def test_norm_is_over_the_channels_of_a_voxel():
    x = torch.randn(2, 6, 3, 4)
    normed = ChannelNorm(6)(x)
    torch.testing.assert_close(normed.mean(1), torch.zeros(2, 3, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(normed.var(1, unbiased=False), torch.ones(2, 3, 4), atol=1e-4, rtol=0)


def test_ffn_applies_gelu_after_its_residual():
    ffn = ConvFFN(spatial_dims=2, channels=2)
    torch.nn.init.zeros_(ffn.block[-1].weight)
    torch.nn.init.zeros_(ffn.block[-1].bias)
    x = torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(ffn(x), torch.nn.functional.gelu(x))
    assert ffn.block[3].groups == 2 and ffn.block[3].in_channels == 8
