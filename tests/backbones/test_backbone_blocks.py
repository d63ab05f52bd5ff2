import pytest
import torch
import torch.nn.functional as F

from passion_components.backbones.blocks import Post, Pre, ResidualEncoder, UnimodalDecoder, convolution


def doubles(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def reference_post(post, x, stride=1):
    """The block as its definition reads, in PyTorch's own operations."""
    conv = post.conv
    if conv.kernel_size[0] == 3:
        x = F.pad(x, (1, 1) * (x.ndim - 2), mode="reflect")
    convolve = F.conv2d if x.ndim == 4 else F.conv3d
    return F.leaky_relu(F.instance_norm(convolve(x, conv.weight, conv.bias, stride=stride)), 0.2)


class TestPost:
    @pytest.mark.parametrize("batch", [1, 2])
    @pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 1), (3, 2)])
    @pytest.mark.parametrize("sizes", [(6, 4), (6, 4, 8), (8, 6, 4), (2, 4, 2)])
    def test_equals_its_definition_with_its_gradient(self, batch, kernel_size, stride, sizes):
        torch.manual_seed(0)
        post = Post(
            spatial_dims=len(sizes), in_channels=3, out_channels=2, kernel_size=kernel_size, stride=stride
        ).double()
        parts = [doubles(batch, 1, *sizes), doubles(batch, 2, *sizes, seed=1)]
        ours, theirs = post(*parts), reference_post(post, torch.cat(parts, 1), stride)
        torch.testing.assert_close(ours, theirs)
        weight = doubles(*ours.shape, seed=2).detach()
        inputs = [*parts, post.conv.weight]
        for mine, reference in zip(
            torch.autograd.grad((ours * weight).sum(), inputs),
            torch.autograd.grad((theirs * weight).sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(mine, reference)

    @pytest.mark.parametrize("borders", ["reflect", "zeros"])
    @pytest.mark.parametrize("sizes", [(4, 6), (4, 4, 2)])
    def test_pre_normalises_what_comes_in(self, borders, sizes):
        torch.manual_seed(0)
        pre = Pre(spatial_dims=len(sizes), in_channels=3, out_channels=2, borders=borders).double()
        parts = [doubles(2, 1, *sizes), doubles(2, 2, *sizes, seed=1)]
        x = F.leaky_relu(F.instance_norm(torch.cat(parts, 1)), 0.2)
        mode = "reflect" if borders == "reflect" else "constant"
        convolve = F.conv2d if len(sizes) == 2 else F.conv3d
        expected = convolve(F.pad(x, (1, 1) * len(sizes), mode=mode), pre.conv.weight, pre.conv.bias)
        torch.testing.assert_close(pre(*parts), expected)

    def test_other_borders_are_refused(self):
        with pytest.raises(ValueError, match="borders must be 'reflect' or 'zeros', got 'same'"):
            Pre(spatial_dims=2, in_channels=1, out_channels=1, borders="same")

    def test_other_kernels_are_refused(self):
        with pytest.raises(ValueError, match="kernel_size must be 1 or 3, got 5"):
            Post(spatial_dims=3, in_channels=1, out_channels=1, kernel_size=5)


def test_weights_are_drawn_kaiming_normal_and_biases_as_by_pytorch():
    torch.manual_seed(0)
    conv = convolution(3, 16, 64, 3)
    assert conv.weight.std().item() == pytest.approx((2 / (16 * 27)) ** 0.5, rel=0.02)
    assert conv.weight.abs().max() > 3 * conv.weight.std()  # a uniform draw ends at 1.7
    assert 0.9 * (16 * 27) ** -0.5 < conv.bias.abs().max() <= (16 * 27) ** -0.5


def test_encoder_adds_what_its_blocks_find_to_what_enters_them():
    torch.manual_seed(0)
    encoder = ResidualEncoder(spatial_dims=2, width=2, n_levels=2).double()
    levels = encoder(doubles(1, 1, 8, 12))
    assert [tuple(level.shape) for level in levels] == [(1, 2, 8, 12), (1, 4, 4, 6)]
    entry, first, second = encoder.levels[1]
    x = reference_post(entry, levels[0], stride=2)
    torch.testing.assert_close(levels[1], x + reference_post(second, reference_post(first, x)))


def test_separate_decoder_reads_every_level():
    torch.manual_seed(0)
    decoder = UnimodalDecoder(spatial_dims=2, width=2, n_levels=3, n_classes=5)
    levels = [torch.rand(3, 2 * 2**level, 8 // 2**level, 16 // 2**level, requires_grad=True) for level in range(3)]
    output = decoder(levels)
    assert output.shape == (3, 5, 8, 16)
    (output * torch.rand_like(output)).sum().backward()
    assert all(level.grad.abs().sum() > 0 for level in levels)
