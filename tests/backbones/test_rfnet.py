import pytest
import torch

from passion_components.backbones.rfnet import RegionWeights, RFNet


def rfnet(n_modalities=4, n_classes=3, spatial_dims=2, width=4, **kwargs):
    torch.manual_seed(0)
    return RFNet(
        n_modalities=n_modalities, n_classes=n_classes, spatial_dims=spatial_dims, width=width, **kwargs
    ).double()


def images(batch, n_modalities, *sizes):
    return torch.randn(batch, n_modalities, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def complete(batch, n_modalities=4):
    return torch.ones(batch, n_modalities, dtype=torch.bool)


def total(output):
    """A scalar that depends on everything a path gives out."""
    parts = [output.logits, output.embedding, *(deep for deep, _ in output.deep)]
    return sum((part * torch.linspace(0, 1, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in parts)


class TestConstruction:
    def test_published_numbers_of_parameters_by_part(self):
        network = RFNet(n_modalities=4, n_classes=4, separate_decoder=True)
        assert sum(p.numel() for p in network.separate.parameters()) == 146_700
        assert sum(p.numel() for p in network.encoders.parameters()) == 4 * 366_912

    @pytest.mark.parametrize("width", [2, 7])
    def test_odd_or_narrow_widths_are_refused(self, width):
        with pytest.raises(ValueError, match=f"width must be even and at least 4, got {width}"):
            rfnet(width=width)

    def test_weight_layers_are_drawn_as_the_convolutions_they_are(self):
        torch.manual_seed(0)
        layer = RegionWeights(n_modalities=4, n_classes=2, channels=8)
        for weight, bias, fan_in in ((layer.weight1, layer.bias1, 33), (layer.weight2, layer.bias2, 128)):
            assert weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
            assert 0.8 * fan_in**-0.5 < bias.abs().max() <= fan_in**-0.5


class TestShapes:
    @pytest.mark.parametrize(
        ("n_modalities", "n_classes", "sizes"),
        [(1, 1, (16, 16)), (2, 3, (16, 24)), (3, 2, (24, 16, 32)), (5, 2, (16, 16))],
    )
    def test_any_modalities_classes_and_sizes(self, n_modalities, n_classes, sizes):
        network = rfnet(n_modalities, n_classes, len(sizes), width=6)
        image = images(2, n_modalities, *sizes)
        presence = complete(2, n_modalities)
        presence[1, 1:] = False
        output = network.decode(network.encode(image, presence), presence)
        assert output.logits.shape == (2, n_classes, *sizes) and output.embedding.shape == (2, 6, *sizes)
        assert [scale for _, scale in output.deep] == [1, 2, 4, 8]
        for deep, scale in output.deep:
            assert deep.shape == (2, n_classes, *(size // scale for size in sizes))

    @pytest.mark.parametrize("sizes", [(20, 16), (8, 16), (16, 16, 16)])
    def test_sizes_that_do_not_fit_are_refused_in_words(self, sizes):
        with pytest.raises(ValueError, match="RFNet takes"):
            rfnet()(images(1, 4, *sizes))


class TestGradients:
    def test_region_maps_teach_nothing_through_the_fusion(self):
        network, image = rfnet(), images(1, 4, 16, 16)
        network(image, complete(1)).square().sum().backward()
        assert all(fusion.map_head.weight.grad is None for fusion in network.fusions)
        assert all(fusion.weights.weight1.grad.abs().sum() > 0 for fusion in network.fusions)

    def test_deep_supervision_teaches_the_region_maps(self):
        network, image = rfnet(), images(1, 4, 16, 16)
        total(network.decode(network.encode(image, complete(1)), complete(1))).backward()
        assert all(fusion.map_head.weight.grad.abs().sum() > 0 for fusion in network.fusions)


def test_region_weights_follow_their_equation():
    torch.manual_seed(0)
    layer = RegionWeights(n_modalities=3, n_classes=2, channels=2).double()
    rows, maps = torch.randn(1, 2, 2, 5).double(), torch.rand(1, 2, 5).double()
    maps[0, 1] *= 1e-7  # a class that is nearly absent: the 1e-7 in the denominator shows
    member = torch.tensor([[[True, False, False], [False, False, True]]])
    weights = layer(rows, maps, member)
    for k in range(2):
        area = maps[0, k].mean()
        pooled = (rows[0] * maps[0, k]).mean(-1) / (area + 1e-7)
        inputs = torch.cat([pooled[0], torch.zeros(2), pooled[1], area[None]])
        hidden = torch.nn.functional.leaky_relu(layer.weight1[k] @ inputs + layer.bias1[k], 0.2)
        expected = torch.sigmoid(layer.weight2[k] @ hidden + layer.bias2[k])
        torch.testing.assert_close(weights[0, :, k], expected[[0, 2]])
