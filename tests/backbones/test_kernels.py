import pytest
import torch
import torch.nn.functional as F

from passion_components.backbones.blocks import Post, convolution
from passion_components.backbones.kernels import logits, normalise, pointwise, upsample2


def doubles(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


class TestUpsample:
    @pytest.mark.parametrize(("sizes", "mode"), [((4, 3), "bilinear"), ((2, 3, 5), "trilinear")])
    def test_equals_aligned_interpolation_with_its_gradient(self, sizes, mode):
        x = doubles(2, 3, *sizes)
        ours, theirs = upsample2(x), F.interpolate(x, scale_factor=2, mode=mode, align_corners=True)
        torch.testing.assert_close(ours, theirs)
        weight = torch.randn_like(ours)
        gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)]
        torch.testing.assert_close(*gradients)

    def test_can_be_trained_after_inference(self):
        with torch.inference_mode():
            upsample2(torch.zeros(1, 1, 7, 9))
        upsample2(torch.zeros(1, 1, 7, 9, requires_grad=True)).sum().backward()


class TestNormalise:
    @pytest.mark.parametrize("sizes", [(4, 3), (2, 3, 4)])
    @pytest.mark.parametrize("channels_last", [False, True])
    def test_equals_instance_norm_and_leaky_relu_with_the_gradient(self, sizes, channels_last):
        x = doubles(2, 3, *sizes)
        last = torch.channels_last if len(sizes) == 2 else torch.channels_last_3d
        ours = normalise(x.contiguous(memory_format=last) if channels_last else x)
        theirs = F.leaky_relu(F.instance_norm(x), 0.2)
        weight = torch.randn_like(theirs)
        gradients = [torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)]
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-10)
        assert ours.is_contiguous()

    def test_of_bfloat16_has_the_statistics_of_float32(self):
        x = (torch.randn(2, 3, 16, 16) * 5 + 20).bfloat16().requires_grad_()
        exact = x.detach().float().requires_grad_()
        ours, theirs = normalise(x), normalise(exact)
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), theirs, rtol=2**-7, atol=1e-2)
        weight = torch.randn_like(theirs)
        ours.backward(weight.bfloat16())
        theirs.backward(weight)
        torch.testing.assert_close(x.grad.float(), exact.grad, rtol=2**-5, atol=1e-2)
        assert (normalise(torch.full((1, 1, 8, 8), 3.7, dtype=torch.bfloat16)) == 0).all()

    def test_keeps_one_map_for_its_gradient(self):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda packed: packed):
            out = normalise(torch.randn(1, 2, 8, 8).requires_grad_())
        assert [x.data_ptr() for x in kept if x.numel() > 2] == [out.data_ptr()]


class TestConstantMaps:
    """What a slice with nothing in it looks like."""

    @pytest.fixture
    def deep(self) -> torch.nn.Sequential:
        torch.manual_seed(0)
        blocks = [Post(spatial_dims=2, in_channels=1 if i == 0 else 4, out_channels=4) for i in range(20)]
        return torch.nn.Sequential(*blocks)

    @pytest.mark.parametrize("value", [-1.4988, 0.1, 3.7, 1e4])
    def test_become_exactly_zero(self, value):
        assert (normalise(torch.full((1, 2, 15, 17), value)) == 0).all()

    def test_have_no_gradient_however_deep_the_network(self, deep):
        x = torch.full((1, 1, 16, 16), -1.4988, requires_grad=True)
        (deep(x) * torch.randn(1, 4, 16, 16)).sum().backward()
        assert all((parameter.grad == 0).all() for parameter in deep.parameters())
        assert (x.grad == 0).all()

    def test_add_nothing_to_the_gradient_of_a_batch(self, deep):
        deep.double()
        x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
        deep(x).square().sum().backward()
        alone = [block.conv.weight.grad.clone() for block in deep]
        deep.zero_grad()
        deep(torch.cat([x, torch.full_like(x, 3.7)])).square().sum().backward()
        for block, expected in zip(deep, alone, strict=True):
            torch.testing.assert_close(block.conv.weight.grad, expected)


class TestPointwise:
    def test_equals_the_convolution_of_the_concatenation(self):
        conv = convolution(2, 5, 3).double()
        parts = [doubles(2, 2, 3, 4), doubles(2, 3, 3, 4, seed=1)]
        torch.testing.assert_close(pointwise(conv, *parts), conv(torch.cat(parts, 1)))

    def test_logits_stay_float32_under_autocast(self):
        conv, x = convolution(2, 3, 2), torch.rand(1, 3, 4, 4)
        with torch.autocast("cpu", torch.bfloat16):
            inside = logits(conv, x)
            assert pointwise(conv, x).dtype == torch.bfloat16
        assert torch.equal(inside, logits(conv, x)) and inside.dtype == torch.float32
