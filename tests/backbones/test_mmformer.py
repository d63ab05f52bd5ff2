import pytest
import torch

from passion_components.backbones.mmformer import MMFormer


def mmformer(img_size=(32, 48), **kwargs):
    torch.manual_seed(0)
    network = MMFormer(
        n_modalities=3,
        n_classes=2,
        spatial_dims=len(img_size),
        img_size=img_size,
        width=2,
        token_dim=8,
        mlp_dim=16,
        num_heads=2,
        **kwargs,
    )
    torch.nn.init.normal_(network.positions)
    return network.double().eval()


@pytest.fixture
def tokens():
    """Tokens (1, 3, 6, 8) of a grid of 2 x 3 locations."""
    return torch.randn(1, 3, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class TestTokenLayout:
    def test_aligned_places_every_token_at_its_location(self, tokens):
        network = mmformer()
        weight = network.bottleneck.weight.flatten(1)
        expected = weight @ torch.cat([tokens[0, m, 4] for m in range(3)]) + network.bottleneck.bias
        torch.testing.assert_close(network.mix(tokens, (2, 3))[0, :, 1, 1], expected)

    def test_published_places_consecutive_tokens(self, tokens):
        network = mmformer(token_layout="published")
        weight = network.bottleneck.weight.flatten(1)
        expected = weight @ tokens[0].flatten(0, 1)[12:15].flatten() + network.bottleneck.bias
        torch.testing.assert_close(network.mix(tokens, (2, 3))[0, :, 1, 1], expected)

    def test_an_unknown_one_is_refused(self):
        with pytest.raises(ValueError, match="token_layout must be one of aligned, published, got 'mixed'"):
            mmformer(token_layout="mixed")


class TestPositions:
    @torch.no_grad()
    def test_absent_modalities_take_part_with_theirs_alone(self):
        network, image = mmformer(), torch.randn(1, 3, 32, 48).double()
        presence = torch.tensor([[True, False, True]])
        before = network(image, presence)
        for part in ("encoders", "embeddings", "within"):
            for parameter in getattr(network, part)[1].parameters():
                parameter.add_(1.0)
        assert torch.equal(network(image, presence), before)
        network.positions[1].add_(torch.randn_like(network.positions[1]))
        assert not torch.allclose(network(image, presence), before)

    @torch.no_grad()
    def test_other_grids_take_interpolated_ones(self):
        network = mmformer()
        wide = mmformer(img_size=(64, 64))
        state = network.state_dict() | {
            "positions": torch.nn.functional.interpolate(
                network.positions.transpose(1, 2).unflatten(2, (2, 3)), size=(4, 4), mode="bilinear"
            )
            .flatten(2)
            .transpose(1, 2)
        }
        wide.load_state_dict(state)
        image = torch.randn(1, 3, 64, 64).double()
        torch.testing.assert_close(network(image), wide(image))

    @pytest.mark.parametrize("img_size", [(32, 40), (32, 0), (8, 32)])
    def test_a_crop_without_token_grid_is_refused(self, img_size):
        with pytest.raises(ValueError, match="img_size must be 2 multiples of 16"):
            mmformer(img_size=img_size)


@pytest.mark.parametrize("depth", [0, -1])
def test_a_transformer_without_layers_is_refused(depth):
    with pytest.raises(ValueError, match="width and depth must be at least 1"):
        mmformer(depth=depth)


def test_dropout_acts_in_training_only():
    network, image = mmformer(), torch.randn(1, 3, 32, 48).double()
    assert torch.equal(network(image), network(image))
    network.train()
    assert not torch.equal(network(image), network(image))
