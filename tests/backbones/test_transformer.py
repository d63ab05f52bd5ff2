import pytest
import torch

from passion_components.backbones.transformer import TransformerLayer, on_grid, to_map, to_tokens, token_grid


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return TransformerLayer(dim=6, mlp_dim=10, num_heads=3).double().eval()


class TestTransformerLayer:
    def test_equals_the_attention_of_pytorch_between_its_residuals(self, layer):
        reference = torch.nn.MultiheadAttention(6, 3, batch_first=True).double().eval()
        linear = layer.project[0]
        reference.load_state_dict(
            {
                "in_proj_weight": layer.qkv.weight,
                "in_proj_bias": torch.zeros(18).double(),
                "out_proj.weight": linear.weight,
                "out_proj.bias": linear.bias,
            }
        )
        x = torch.randn(2, 5, 6).double()
        normed = torch.nn.functional.layer_norm(x, (6,), eps=1e-5)
        middle = x + reference(normed, normed, normed)[0]
        hidden = torch.nn.functional.gelu(layer.mlp[0](torch.nn.functional.layer_norm(middle, (6,), eps=1e-5)))
        torch.testing.assert_close(layer(x), middle + layer.mlp[3](hidden))

    def test_probabilities_are_those_that_attention_uses(self, layer):
        query, key, value = layer.heads(torch.randn(2, 5, 6).double())
        probabilities = layer.probabilities(query, key)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 3, 5).double())
        torch.testing.assert_close(probabilities @ value, layer.attend(query, key, value))

    def test_drops_in_training_only(self, layer):
        x = torch.randn(1, 4, 6).double()
        assert torch.equal(layer(x), layer(x))
        layer.train()
        assert not torch.equal(layer(x), layer(x))

    def test_heads_must_divide_the_features(self):
        with pytest.raises(ValueError, match="num_heads must divide the 6 features of a token, got 4"):
            TransformerLayer(dim=6, mlp_dim=8, num_heads=4)


class TestGrids:
    def test_tokens_run_along_the_last_axis_first(self):
        x = torch.arange(12.0).view(1, 2, 2, 3)
        assert to_tokens(x)[0, :, 0].tolist() == [0, 1, 2, 3, 4, 5]
        assert torch.equal(to_map(to_tokens(x), (2, 3)), x)

    def test_the_same_grid_keeps_the_table(self):
        table = torch.rand(2, 6, 4)
        assert on_grid(table, (2, 3), torch.Size((2, 3))) is table

    def test_another_grid_is_interpolated_between_cell_centres(self):
        table = torch.tensor([0.0, 4.0])[None, :, None]
        assert on_grid(table, (2, 1), (4, 1)).flatten().tolist() == [0, 1, 3, 4]

    def test_three_dimensions(self):
        assert on_grid(torch.rand(3, 8, 5), (2, 2, 2), (2, 3, 4)).shape == (3, 24, 5)

    @pytest.mark.parametrize(("size", "dims"), [((32, 40), 2), ((32, 32), 3), ((0, 32), 2)])
    def test_crops_that_have_none_are_refused(self, size, dims):
        with pytest.raises(ValueError, match=f"img_size must be {dims} multiples of 16"):
            token_grid(size, dims, 16)
