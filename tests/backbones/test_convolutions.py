import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from passion_components.backbones import convolutions
from passion_components.backbones.blocks import convolution
from passion_components.backbones.convolutions import bordered_convolution
from passion_components.backbones.layouts import for_convolution, to_contiguous


def doubles(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


class TestBorderedConvolution:
    @pytest.mark.parametrize("vector", [8, 16])
    @pytest.mark.parametrize("up_to", [0, convolutions.KEPT])
    @pytest.mark.parametrize("reflect", [True, False])
    @pytest.mark.parametrize("batch", [1, 2])
    @pytest.mark.parametrize(
        ("sizes", "stride", "channels"),
        [
            ((6, 4), 1, 3),  # two voxels at a time
            ((6, 4), 1, 10),  # enough channels for narrow vectors alone
            ((6, 4), 1, 20),  # enough channels
            ((4, 5), 1, 3),  # an odd last axis
            ((6, 4), 2, 3),
            ((6, 2, 4), 1, 3),  # one volume: as two halves
            ((7, 4, 3), 1, 20),  # whose halves share a plane
            ((6, 4, 4), 2, 3),
            ((3, 66, 64), 1, 3),  # one that is not small
        ],
    )
    def test_equals_the_convolution_of_the_padded_map_with_its_gradients(
        self, sizes, stride, channels, batch, reflect, up_to, vector, monkeypatch
    ):
        monkeypatch.setattr(convolutions, "KEPT", up_to)
        monkeypatch.setattr(convolutions, "VECTOR", vector)
        torch.manual_seed(0)
        conv = convolution(len(sizes), 5, channels, 3, stride).double()
        parts = [doubles(batch, 2, *sizes), doubles(batch, 3, *sizes, seed=1)]
        inputs = [*parts, conv.weight, conv.bias]
        padded = F.pad(torch.cat(parts, 1), (1, 1) * len(sizes), mode="reflect" if reflect else "constant")
        ours, theirs = bordered_convolution(conv, *parts, reflect=reflect), conv(padded)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
        weight = torch.randn_like(theirs)
        for mine, reference in zip(
            torch.autograd.grad(ours, inputs, weight), torch.autograd.grad(theirs, inputs, weight), strict=True
        ):
            torch.testing.assert_close(mine, reference, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("sizes", [(2, 3), (3, 2, 2)])
    def test_gradients(self, sizes):
        conv = convolution(len(sizes), 3, 2, 3).double()
        parts = doubles(1, 1, *sizes), doubles(1, 2, *sizes, seed=1)
        assert gradcheck(lambda *parts: bordered_convolution(conv, *parts, reflect=True), parts)

    def test_an_image_needs_no_gradient(self):
        conv = convolution(2, 1, 2, 3)
        image = torch.rand(1, 1, 4, 4)
        bordered_convolution(conv, image, reflect=True).sum().backward()
        assert image.grad is None and conv.weight.grad.abs().sum() > 0

    def test_keeps_no_large_padded_map_for_its_gradient(self, monkeypatch):
        monkeypatch.setattr(convolutions, "KEPT", 2 * 10 * 10 - 1)
        kept = []
        conv, x = convolution(2, 2, 3, 3), torch.rand(1, 2, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda packed: packed):
            bordered_convolution(conv, x, reflect=True)
        assert [tensor.data_ptr() for tensor in kept] == [conv.weight.data_ptr(), x.data_ptr()]

    def test_keeps_a_small_padded_map_alone(self, monkeypatch):
        monkeypatch.setattr(convolutions, "KEPT", 2 * 10 * 10)
        kept = []
        conv, x = convolution(2, 2, 3, 3), torch.rand(1, 2, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda made: kept.append(made.shape) or made, lambda made: made):
            bordered_convolution(conv, x, reflect=True)
        assert kept == [conv.weight.shape, (1, 2, 10, 10)]

    def test_leaves_incoming_gradients_alone(self):
        out = bordered_convolution(convolution(2, 1, 2, 3), torch.rand(1, 1, 3, 4, requires_grad=True), reflect=True)
        incoming = torch.ones_like(out)
        out.backward(incoming)
        assert torch.equal(incoming, torch.ones_like(out))

    def test_runs_in_the_type_of_autocast(self):
        conv, x = convolution(3, 1, 2, 3), torch.rand(1, 1, 4, 4, 4, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            out = bordered_convolution(conv, x, reflect=True)
        out.float().sum().backward()
        assert out.dtype == torch.bfloat16 and x.grad.dtype == conv.weight.grad.dtype == torch.float32

    def test_an_axis_of_one_voxel_has_nothing_to_reflect(self):
        with pytest.raises(ValueError, match=r"sizes of at least 2, got \(4, 1\)"):
            bordered_convolution(convolution(2, 1, 1, 3), torch.zeros(1, 1, 4, 1), reflect=True)


def test_the_size_from_which_a_volume_is_not_small_is_that_of_pytorch():
    """Beyond it one volume must go whole: halves would only cost copies."""
    one, larger = torch.zeros(1, 8, 40, 64, 4), torch.zeros(1, 8, 40, 65, 4)
    assert convolutions._is_small(one) and not convolutions._is_small(larger)
    arguments = torch.zeros(16, 8, 3, 3, 3), None, [1] * 3, [0] * 3, [1] * 3, False, [0] * 3, 1
    chosen = [torch._C._select_conv_backend(x, *arguments) for x in (one, larger)]
    assert [backend.name for backend in chosen] == ["Slow3d", "Mkldnn"]


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("sizes", [(4, 3), (2, 3, 4)])
def test_layouts_change_no_value(sizes, channels):
    x = torch.randn(2, channels, *sizes)
    last = torch.channels_last if len(sizes) == 2 else torch.channels_last_3d
    there = for_convolution(x)
    assert there.is_contiguous(memory_format=last) and torch.equal(there, x)
    assert to_contiguous(there).is_contiguous() and torch.equal(to_contiguous(there), x)
    odd = x.movedim(1, 2)
    assert torch.equal(to_contiguous(odd), odd) and torch.equal(for_convolution(odd), odd)
