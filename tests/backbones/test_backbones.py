"""What holds for every backbone: absent is invisible, batches, subsets and uni-modal paths agree, sizes, precision."""

import itertools

import pytest
import torch

from passion_components.backbones.base import MultiPath
from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet

BUILD = {
    "rfnet": lambda **sizes: RFNet(width=4, **sizes),
    "mmformer": lambda **sizes: MMFormer(
        width=2, token_dim=8, mlp_dim=16, num_heads=2, depth=2, img_size=[32] * sizes["spatial_dims"], **sizes
    ),
    "m2ftrans": lambda **sizes: M2FTrans(
        width=2, mlp_dim=16, num_heads=4, depth=2, img_size=[32] * sizes["spatial_dims"], **sizes
    ),
}
PUBLISHED_SIZES = {"rfnet": (RFNet, 2_381_792), "mmformer": (MMFormer, 35_599_184), "m2ftrans": (M2FTrans, 13_194_788)}
MIXED = torch.tensor([[True, False, True, False], [False, True, True, True]])

every_backbone = pytest.mark.parametrize("name", list(BUILD))
in_two_and_three_dimensions = pytest.mark.parametrize("sizes", [(32, 32), (32, 32, 32)], ids=["2D", "3D"])


def network_of(name, n_modalities=4, n_classes=3, spatial_dims=2, **kwargs):
    """A narrow network in float64 and eval mode whose learned tables are not zero."""
    torch.manual_seed(0)
    network = BUILD[name](n_modalities=n_modalities, n_classes=n_classes, spatial_dims=spatial_dims, **kwargs)
    if hasattr(network, "positions"):
        torch.nn.init.normal_(network.positions)
    return network.double().eval()


def images(batch, n_modalities, *sizes):
    return torch.randn(batch, n_modalities, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def complete(batch, n_modalities=4):
    return torch.ones(batch, n_modalities, dtype=torch.bool)


def all_subsets(n_modalities):
    return torch.tensor(list(itertools.product([False, True], repeat=n_modalities))[1:])


def total(output):
    """A scalar that depends on everything a path gives out."""
    parts = [output.logits, output.embedding, *(deep for deep, _ in output.deep)]
    return sum((part * torch.linspace(0, 1, part.numel(), dtype=part.dtype).view_as(part)).sum() for part in parts)


@every_backbone
def test_published_number_of_parameters(name):
    build, expected = PUBLISHED_SIZES[name]
    img_size = {} if name == "rfnet" else {"img_size": (80, 80, 80)}
    with torch.device("meta"):
        network = build(n_modalities=4, n_classes=4, separate_decoder=True, **img_size)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@every_backbone
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("n_modalities", [1, 2, 3, 4, 5])
def test_any_modalities_and_classes(name, dims, n_modalities):
    n_classes, sizes = {1: 2, 2: 5, 3: 4, 4: 2, 5: 3}[n_modalities], (32, 48, 32)[:dims]
    network = network_of(name, n_modalities, n_classes, dims)
    presence = complete(2, n_modalities)
    presence[1, 1:] = False
    with torch.no_grad():
        output = network.decode(network.encode(images(2, n_modalities, *sizes), presence), presence)
    assert output.logits.shape == (2, n_classes, *sizes)
    assert output.embedding.shape[2:] == sizes and output.logits.isfinite().all()
    for deep, scale in output.deep:
        assert deep.shape == (2, n_classes, *(size // scale for size in sizes))


@every_backbone
@in_two_and_three_dimensions
class TestAbsentModalities:
    @pytest.mark.parametrize("junk", [0.0, 1e6, float("nan")])
    def test_what_stands_there_changes_no_bit(self, name, sizes, junk):
        model = MultiPath(network_of(name, spatial_dims=len(sizes), separate_decoder=True).float()).train()
        clean = images(2, 4, *sizes).float()
        dirty = clean.clone()
        dirty[~MIXED] = junk
        results = []
        for image in (clean, dirty):
            model.zero_grad()
            torch.manual_seed(3)
            output = model(image, MIXED)
            (total(output.fused) + total(output.unimodal) + output.separate_logits.square().sum()).backward()
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            results.append([output.fused.logits, output.unimodal.logits, *grads])
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
        assert all(x.isfinite().all() for x in results[1])

    def test_what_encodes_them_gets_no_gradient(self, name, sizes):
        network = network_of(name, spatial_dims=len(sizes))
        presence = torch.tensor([[True, False, True, False]])
        total(network.decode(network.encode(images(1, 4, *sizes), presence), presence)).backward()
        for part in ("encoders", "within", "embeddings"):
            for module, here in zip(getattr(network, part, []), presence[0].tolist(), strict=False):
                assert {p.grad is not None for p in module.parameters()} == {here}


@every_backbone
@in_two_and_three_dimensions
class TestSharedRows:
    @torch.no_grad()
    def test_a_batch_equals_its_samples_one_by_one(self, name, sizes):
        network = network_of(name, spatial_dims=len(sizes))
        presence = torch.tensor([[True] * 4, [False, True, False, False], [True, False, True, True]])
        image = images(3, 4, *sizes)
        together = network.decode(network.encode(image, presence), presence)
        for n in range(3):
            one = slice(n, n + 1)
            alone = network.decode(network.encode(image[one], presence[one]), presence[one])
            torch.testing.assert_close(together.logits[one], alone.logits)
            torch.testing.assert_close(together.embedding[one], alone.embedding)
            for (ours, _), (theirs, _) in zip(together.deep, alone.deep, strict=True):
                torch.testing.assert_close(ours[one], theirs)

    @torch.no_grad()
    def test_decoding_subsets_of_one_encoding_equals_encoding_only_them(self, name, sizes):
        network, image = network_of(name, spatial_dims=len(sizes)), images(1, 4, *sizes)
        subsets = all_subsets(4)[:: 1 if len(sizes) == 2 else 4]
        features = network.encode(image, complete(1))
        at_once = network.decode(features.select(torch.zeros(len(subsets), dtype=torch.long)), subsets).logits
        for logits, subset in zip(at_once.split(1), subsets.split(1), strict=True):
            torch.testing.assert_close(logits, network(image, subset))

    @torch.no_grad()
    def test_unimodal_paths_equal_presences_of_one(self, name, sizes):
        network, image = network_of(name, spatial_dims=len(sizes)), images(2, 4, *sizes)
        output = MultiPath(network)(image, MIXED)
        for pair, (sample, modality) in enumerate(zip(output.sample_index, output.modality_index, strict=True)):
            single = torch.zeros(1, 4, dtype=torch.bool)
            single[0, modality] = True
            expected = network(image[sample : sample + 1], single)
            torch.testing.assert_close(output.unimodal.logits[pair : pair + 1], expected)

    @torch.no_grad()
    def test_the_fused_path_may_see_less_than_the_unimodal_ones(self, name, sizes):
        network, image = network_of(name, spatial_dims=len(sizes)), images(2, 4, *sizes)
        seen = torch.tensor([[True, False, False, False], [False, True, False, True]])
        output = MultiPath(network)(image, MIXED, seen)
        torch.testing.assert_close(output.fused.logits, network(image, seen))
        assert len(output.unimodal.logits) == MIXED.sum()


@every_backbone
@in_two_and_three_dimensions
class TestPrecisionAndGradients:
    def test_autocast_gives_finite_float32_logits_near_those_without(self, name, sizes):
        model = MultiPath(network_of(name, spatial_dims=len(sizes), separate_decoder=True).float())
        image = images(2, 4, *sizes).float()
        with torch.autocast("cpu", torch.bfloat16):
            output = model(image, MIXED)
        total(output.fused).backward()
        given = [output.fused.logits, output.unimodal.logits, output.separate_logits]
        given += [deep for deep, _ in output.fused.deep]
        assert all(x.dtype == torch.float32 and x.isfinite().all() for x in given)
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        exact = model(image, MIXED).fused.logits
        assert (output.fused.logits - exact).abs().mean() < 0.15 * exact.std()

    def test_every_parameter_of_a_complete_sample_learns(self, name, sizes):
        model = MultiPath(network_of(name, spatial_dims=len(sizes), separate_decoder=True))
        output = model(images(1, 4, *sizes), complete(1))
        assert output.fused.logits.dtype == torch.float64
        (total(output.fused) + total(output.unimodal) + output.separate_logits.square().sum()).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        dead = {n for n, p in model.named_parameters() if not p.grad.abs().max() > 0 and n.endswith("weight")}
        assert not dead


@every_backbone
@in_two_and_three_dimensions
def test_checkpointed_activations_change_neither_results_nor_gradients(name, sizes):
    network, image = network_of(name, spatial_dims=len(sizes), separate_decoder=True).eval(), images(2, 4, *sizes)
    results = []
    for again in (False, True):
        kept = []
        network.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda x, kept=kept: kept.append(x.numel()) or x, lambda x: x):
            output = MultiPath(network, checkpoint_activations=again)(image, MIXED)
        (total(output.fused) + total(output.unimodal) + output.separate_logits.square().sum()).backward()
        results.append(
            (sum(kept), [output.fused.logits, *(p.grad for p in network.parameters() if p.grad is not None)])
        )
    assert results[1][0] < 0.5 * results[0][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-8)


@every_backbone
@pytest.mark.parametrize("sizes", [(40, 36), (8, 32), (32, 32, 32)])
def test_sizes_that_do_not_fit_are_refused_in_words(name, sizes):
    with pytest.raises(ValueError, match="takes"):
        network_of(name)(images(1, 4, *sizes))


@every_backbone
def test_separate_decoder_only_where_asked_for(name):
    assert MultiPath(network_of(name))(images(2, 4, 32, 32), MIXED).separate_logits is None
    with_one = MultiPath(network_of(name, separate_decoder=True))
    assert with_one(images(2, 4, 32, 32), MIXED).separate_logits.shape == (5, 3, 32, 32)
