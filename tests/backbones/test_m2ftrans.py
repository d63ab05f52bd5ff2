import pytest
import torch

from passion_components.backbones.m2ftrans import M2FTrans, enlarged
from passion_components.backbones.sharing import Sharing


def m2ftrans(img_size=(32, 48), **kwargs):
    torch.manual_seed(0)
    network = M2FTrans(
        n_modalities=3,
        n_classes=2,
        spatial_dims=len(img_size),
        img_size=img_size,
        width=2,
        mlp_dim=16,
        num_heads=4,
        **kwargs,
    )
    torch.nn.init.normal_(network.positions)
    return network.double().eval()


def image_of(*sizes):
    return torch.randn(1, 3, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


PRESENCE = torch.tensor([[True, False, True]])


class TestFusionTokens:
    @torch.no_grad()
    def test_equal_one_masked_attention_over_all_tokens(self):
        """The sequence of all blocks, in which modalities see themselves and fusion tokens what is present."""
        network = m2ftrans()
        features = network.encode(image_of(32, 48), PRESENCE)
        fusion, (weights,) = network.fuse(features.levels[6], Sharing.of(features), (2, 3))
        block = torch.arange(3).repeat_interleave(6)
        allowed = (block[:, None] == block) | (block[:, None] == 2)
        mask = torch.zeros(18, 18, dtype=torch.float64).masked_fill(~allowed, float("-inf"))
        maps = [level.flatten(2).transpose(1, 2) for level in features.levels[4].split(1)]
        starts = [network.position(index, (2, 3)) for index in (0, 2, 3)]
        x = torch.cat([tokens + start for tokens, start in zip([*maps, network.fusion], starts, strict=True)], 1)
        for number, layer in enumerate(network.transformer):
            query, key, value = layer.heads(x)
            probabilities = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + mask).softmax(-1)
            if number == 0:
                expected = probabilities[:, :, 12:].sum((1, 2)).unflatten(1, (3, 6))[:, :2]
                torch.testing.assert_close(weights, expected)
            x = layer.finish(x, probabilities @ value)
        torch.testing.assert_close(fusion, x[:, 12:])
        torch.testing.assert_close(features.levels[5], torch.cat(x[:, :12].split(6, 1)))

    @torch.no_grad()
    def test_nothing_of_an_absent_modality_matters(self):
        network, image = m2ftrans(), image_of(32, 48)
        before = network(image, PRESENCE)
        network.positions[:, 6:12] = torch.randn(6, 32).double()
        attentions = [layer for part in network.decoder.attentions for layer in part.attentions]
        absent = [network.encoders[1], *(branch for a in attentions for branch in (a.keys[1], a.values[1]))]
        for parameter in (p for module in absent for p in module.parameters()):
            parameter.add_(1.0)
        assert torch.equal(network(image, PRESENCE), before)
        network.positions[:, 18:] = torch.randn(6, 32).double()
        assert not torch.allclose(network(image, PRESENCE), before)

    def test_weights_carry_no_gradient(self):
        network = m2ftrans()
        features = network.encode(image_of(32, 48), PRESENCE)
        fusion, (weights,) = network.fuse(features.levels[6], Sharing.of(features), (2, 3))
        assert not weights.requires_grad and fusion.requires_grad

    @torch.no_grad()
    def test_other_grids_take_interpolated_tokens(self):
        network, wide = m2ftrans(), m2ftrans(img_size=(64, 64))

        def on_wide(table):
            spread = table.transpose(1, 2).unflatten(2, (2, 3))
            resized = torch.nn.functional.interpolate(spread, size=(4, 4), mode="bilinear")
            return resized.flatten(2).transpose(1, 2)

        positions = torch.cat([on_wide(network.position(block, (2, 3))) for block in range(4)], 1)
        wide.load_state_dict(network.state_dict() | {"positions": positions, "fusion": on_wide(network.fusion)})
        torch.testing.assert_close(network(image_of(64, 64)), wide(image_of(64, 64)))


@torch.no_grad()
def test_tokens_of_a_modality_without_features_as_published(published):
    expected = published("m2ftrans")
    network = expected.network("float64")
    tokens = network.position(3, (2, 2, 2))
    for layer in network.transformer:
        tokens = layer(tokens)
    torch.testing.assert_close(tokens[0], torch.from_numpy(expected["tap/tokens_t2"]).double(), rtol=0, atol=1e-5)


def test_enlarging_repeats_voxels():
    assert enlarged(torch.tensor([[[[1.0, 2.0]]]]), 2).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


def test_a_transformer_without_layers_is_refused():
    with pytest.raises(ValueError, match="width and depth must be at least 1, got 2 and 0"):
        m2ftrans(depth=0)


def test_fusion_tokens_are_drawn_normal_and_positions_zero():
    torch.manual_seed(0)
    network = M2FTrans(n_modalities=2, n_classes=2, img_size=(80, 80, 80))
    assert network.fusion.shape == (1, 125, 128) and abs(network.fusion.std().item() - 1) < 0.02
    assert network.positions.shape == (1, 3 * 125, 128) and (network.positions == 0).all()
