import itertools

import pytest
import torch

from passion_components.backbones.base import MultiPath
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


def all_subsets(n_modalities):
    return torch.tensor(list(itertools.product([False, True], repeat=n_modalities))[1:])


MIXED = torch.tensor([[True, False, True, False], [False, True, True, True]])


def total(output):
    """A scalar that depends on everything a path gives out."""
    parts = [output.logits, output.embedding, *(deep for deep, _ in output.deep)]
    return sum((part * torch.linspace(0, 1, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in parts)


class TestConstruction:
    def test_published_number_of_parameters(self):
        network = RFNet(n_modalities=4, n_classes=4, separate_decoder=True)
        assert sum(p.numel() for p in network.parameters()) == 2_381_792
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

    def test_separate_decoder_only_where_asked_for(self):
        image, presence = images(2, 4, 16, 16), MIXED
        assert MultiPath(rfnet())(image, presence).separate_logits is None
        assert MultiPath(rfnet(separate_decoder=True))(image, presence).separate_logits.shape == (5, 3, 16, 16)


class TestAbsentModalities:
    @pytest.mark.parametrize("junk", [0.0, 1e6, float("nan"), float("inf")])
    @pytest.mark.parametrize("sizes", [(16, 16), (16, 16, 16)])
    def test_what_stands_there_changes_no_bit(self, junk, sizes):
        model = MultiPath(rfnet(spatial_dims=len(sizes), separate_decoder=True).float())
        clean = images(2, 4, *sizes).float()
        dirty = clean.clone()
        dirty[~MIXED] = junk
        results = []
        for image in (clean, dirty):
            model.zero_grad()
            output = model(image, MIXED)
            (total(output.fused) + total(output.unimodal) + output.separate_logits.square().sum()).backward()
            results.append([output.fused.logits, output.unimodal.logits, *(p.grad for p in model.parameters())])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

    def test_their_encoders_get_no_gradient(self):
        network = rfnet()
        presence = torch.tensor([[True, False, True, False]])
        total(network.decode(network.encode(images(1, 4, 16, 16), presence), presence)).backward()
        learns = [all(p.grad is not None for p in encoder.parameters()) for encoder in network.encoders]
        assert learns == [True, False, True, False]

    @torch.no_grad()
    @pytest.mark.parametrize(("sizes", "every"), [((16, 16), 1), ((16, 16, 24), 4)])
    def test_decoding_a_subset_equals_encoding_only_that(self, sizes, every):
        network, image = rfnet(spatial_dims=len(sizes)), images(1, 4, *sizes)
        features = network.encode(image, complete(1))
        for subset in all_subsets(4)[::every].split(1):
            torch.testing.assert_close(network.decode(features, subset).logits, network(image, subset))


class TestSharedRows:
    @torch.no_grad()
    @pytest.mark.parametrize("sizes", [(16, 16), (16, 24, 16)])
    def test_a_batch_equals_its_samples_one_by_one(self, sizes):
        network = rfnet(spatial_dims=len(sizes))
        presence = torch.tensor(
            [[True] * 4, [False, True, False, False], [True, False, True, True], [False] * 3 + [True]]
        )
        image = images(4, 4, *sizes)
        together = network.decode(network.encode(image, presence), presence)
        for n in range(4):
            one = slice(n, n + 1)
            alone = network.decode(network.encode(image[one], presence[one]), presence[one])
            torch.testing.assert_close(together.logits[one], alone.logits)
            torch.testing.assert_close(together.embedding[one], alone.embedding)
            for (ours, _), (theirs, _) in zip(together.deep, alone.deep, strict=True):
                torch.testing.assert_close(ours[one], theirs)

    @torch.no_grad()
    def test_a_unimodal_path_equals_a_presence_of_one(self):
        network, image = rfnet(), images(2, 4, 16, 16)
        output = MultiPath(network)(image, MIXED)
        features = network.encode(image, MIXED)
        for pair, (sample, modality) in enumerate(zip(output.sample_index, output.modality_index, strict=True)):
            single = torch.zeros(1, 4, dtype=torch.bool)
            single[0, modality] = True
            expected = network.decode(features.select(sample[None]), single)
            torch.testing.assert_close(output.unimodal.logits[pair], expected.logits[0])

    @torch.no_grad()
    def test_all_subsets_of_a_case_at_once_equal_each_by_itself(self):
        network, image = rfnet(), images(1, 4, 16, 16)
        subsets = all_subsets(4)
        features = network.encode(image, complete(1))
        at_once = network.decode(features.select(torch.zeros(15, dtype=torch.long)), subsets).logits
        for logits, subset in zip(at_once, subsets, strict=True):
            torch.testing.assert_close(logits, network.decode(features, subset[None]).logits[0])

    @torch.no_grad()
    def test_the_fused_path_may_see_less_than_the_unimodal_ones(self):
        network, image = rfnet(), images(2, 4, 16, 16)
        seen = torch.tensor([[True, False, False, False], [False, True, False, True]])
        output = MultiPath(network)(image, MIXED, seen)
        torch.testing.assert_close(output.fused.logits, network(image, seen))
        assert len(output.unimodal.logits) == MIXED.sum()


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

    def test_every_parameter_of_a_complete_sample_learns(self):
        model = MultiPath(rfnet(spatial_dims=3, separate_decoder=True))
        output = model(images(1, 4, 16, 16, 16), complete(1))
        (total(output.fused) + total(output.unimodal) + output.separate_logits.square().sum()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        for encoder in model.backbone.encoders:
            assert all(p.grad.abs().max() > 0 for name, p in encoder.named_parameters() if name.endswith("weight"))


class TestPrecision:
    @pytest.mark.parametrize("sizes", [(32, 32), (16, 16, 16)])
    def test_autocast_gives_finite_float32_logits_near_those_without(self, sizes):
        model = MultiPath(rfnet(spatial_dims=len(sizes), separate_decoder=True).float())
        image = images(2, 4, *sizes).float()
        with torch.autocast("cpu", torch.bfloat16):
            output = model(image, MIXED)
        total(output.fused).backward()
        given = [output.fused.logits, output.unimodal.logits, output.separate_logits]
        given += [deep for deep, _ in output.fused.deep]
        assert all(x.dtype == torch.float32 and x.isfinite().all() for x in given)
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        exact = model(image, MIXED).fused.logits
        assert (output.fused.logits - exact).abs().mean() < 0.1 * exact.std()

    def test_float64_stays_float64(self):
        output = MultiPath(rfnet())(images(1, 4, 16, 16), complete(1))
        assert {output.fused.logits.dtype, output.fused.deep[3][0].dtype, output.fused.embedding.dtype} == {
            torch.float64
        }


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
