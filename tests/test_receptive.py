"""Receptive fields against gradients, upsampling against a dense transposed convolution and the official code."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from fcdd import mobilenet, networks
from fcdd.receptive import ReceptiveField, default_sigma, gaussian_kernel, receptive_field, regrid, upsample

GOLDEN = {"FCDD_CNN28": "fcdd_cnn28", "FCDD_CNN28_W": "fcdd_cnn28_w", "FCDD_CNN32_LW3K": "fcdd_cnn32_lw3k",
          "FCDD_CNN224": "fcdd_cnn224", "FCDD_CNN224_VGG": "fcdd_vgg11bn"}  # fmt: skip
VGG = ReceptiveField(62, 8, 3.5)


# ---- the official code ----


@pytest.mark.parametrize("name", GOLDEN)
def test_field_equals_the_official_code(golden, name):
    field = receptive_field(networks.build(GOLDEN[name], 3))
    assert field == (int(golden[f"{name}/extent"]), int(golden[f"{name}/jump"]), float(golden[f"{name}/shift"]))


@pytest.mark.parametrize("sigma", ["1.2", "12"])
@pytest.mark.parametrize("name", GOLDEN)
def test_upsampling_equals_the_official_code(golden, name, sigma):
    field = receptive_field(networks.build(GOLDEN[name], 3))
    expected = golden[f"{name}/up_sigma{sigma}"]
    got = upsample(golden[f"{name}/map"], field, expected.shape[-1], float(sigma))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


# ---- the field, measured ----


class Residual(nn.Module):
    """Adds a branch to what comes in."""

    def __init__(self, branch):
        super().__init__()
        self.main_branch = branch

    def forward(self, x):
        return x + self.main_branch(x)


@st.composite
def small_networks(draw):
    """Padding from none to a whole kernel, on one side only or on both; even kernels, depthwise, residual blocks."""
    layers, channels = [], 1
    for _ in range(draw(st.integers(1, 3))):
        kernel, stride = draw(st.integers(1, 5)), draw(st.integers(1, 2))
        dilation = draw(st.integers(1, 2))
        if draw(st.booleans()):
            first, last = draw(st.integers(-1, 3)), draw(st.integers(0, 3))
            layers.append(nn.ZeroPad2d((first, last, first, draw(st.integers(0, 3)))))
        layers.append(nn.Conv2d(channels, 2, kernel, stride, draw(st.integers(0, kernel)), dilation))
        channels = 2
        if draw(st.booleans()):
            kernel = draw(st.integers(1, 3))
            layers.append(nn.AvgPool2d(kernel, draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2))))
        if draw(st.booleans()):
            kernel = draw(st.integers(2, 4))
            first = draw(st.integers(0, kernel - 1))
            both = (first, kernel - 1 - first)
            layers.append(Residual(nn.Sequential(nn.ZeroPad2d(both * 2), nn.Conv2d(2, 2, kernel, groups=2))))
    return nn.Sequential(*layers)


@given(small_networks())
def test_field_is_what_the_gradient_sees(network):
    """Which input pixels move one output pixel, far from the border: exactly the square that the field names."""
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.1, 1)  # positive: nothing cancels
    field = receptive_field(network)
    side = 4 * (field.extent + field.stride)
    x = torch.zeros(1, 1, side, side, requires_grad=True)
    outputs = network(x).sum(1)
    place = outputs.shape[-1] // 2
    (gradient,) = torch.autograd.grad(outputs[0, place, place + 1], x)
    for axis, index in ((1, place), (0, place + 1)):
        seen = gradient[0, 0].sum(axis).nonzero().flatten()
        middle = field.offset + index * field.stride
        assert [seen.min().item(), seen.max().item()] == [
            middle - (field.extent - 1) / 2,
            middle + (field.extent - 1) / 2,
        ]


@pytest.mark.parametrize("layer, offset", [
    (nn.Conv2d(1, 1, 2, padding=1), -0.5),
    (nn.Conv2d(1, 1, 4, 3, padding=3), -1.5),
    (nn.Sequential(nn.Conv2d(1, 1, 3, padding=2), nn.Conv2d(1, 1, 4, padding=2)), -1.5),
    (nn.Sequential(nn.AvgPool2d(2, 2), nn.Conv2d(1, 1, 3, padding=2)), -1.5),
    (nn.Conv2d(1, 1, 3, padding=3), -2.0),
    (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(1, 1, 3, 2)), 1.0),
])  # fmt: skip
def test_a_map_pixel_comes_back_to_the_pixels_that_it_saw(layer, offset):
    """Each Gaussian fills exactly the square that moves its map pixel, at the border and beyond it, too."""
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    field = receptive_field(layer)
    assert field.offset == offset
    x = torch.zeros(1, 1, 12, 12, requires_grad=True)
    outputs = layer(x)
    for row, column in torch.cartesian_prod(*(torch.arange(n) for n in outputs.shape[2:])).tolist():
        (gradient,) = torch.autograd.grad(outputs[0, 0, row, column], x, retain_graph=True)
        maps = torch.zeros_like(outputs)
        maps[0, 0, row, column] = 1
        assert torch.equal(upsample(maps, field, 12, sigma=2.0) != 0, gradient != 0), (row, column)


def seen(network, x, row, column):
    """(first row, last row), (first column, last column) of the input pixels with a gradient."""
    (gradient,) = torch.autograd.grad(network(x)[0, 0, row, column], x)
    rows, columns = gradient[0].abs().sum(0).nonzero().T
    return (rows.min(), rows.max()), (columns.min(), columns.max())


@pytest.mark.parametrize("name", ["fcdd_vgg11bn", "fcdd_squeezenet", "fcdd_cnn224_5k"])
def test_field_of_large_networks(name):
    """No pixel outside the square moves the map; with means for maxima and positive weights, every border does."""
    torch.manual_seed(0)
    network = networks.build(name, 3).eval()
    field, (row, column) = receptive_field(network), (13, 12)
    x = torch.rand(1, 3, 224, 224, requires_grad=True)
    square = [
        (
            field.offset + i * field.stride - (field.extent - 1) / 2,
            field.offset + i * field.stride + (field.extent - 1) / 2,
        )
        for i in (row, column)
    ]
    for (first, last), (low, high) in zip(seen(network, x, row, column), square, strict=True):
        assert low <= first and last <= high
    for i, layer in enumerate(network):
        if isinstance(layer, nn.MaxPool2d):
            pool = nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, ceil_mode=layer.ceil_mode)
            network[i] = pool
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.001, 0.01)
    assert [(first.item(), last.item()) for first, last in seen(network.double(), x.double(), row, column)] == square


def test_field_of_the_backbone():
    """Two depths joined at stride 8: exactly the square that the gradient sees, at places of both kinds."""
    network = networks.build("fcdd_mobilenet", 1)
    told = network[0].field  # around the place of its weight, and so wide that it holds the whole square
    network[0] = mobilenet.Joined(list(network[0]), mobilenet.DEPTHS)
    for layer in list(network[0].modules()):
        for name, child in layer.named_children():
            if isinstance(child, nn.ReLU6):
                setattr(layer, name, nn.Identity())  # a bounded one passes no gradient where it is full
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.001, 0.1)
    field, x = receptive_field(network), torch.rand(1, 1, 704, 704, dtype=torch.float64, requires_grad=True)
    assert field == (315, 8, 7.0) and told[1:] == (8, mobilenet.OFFSETS[0])
    assert told.offset + (told.extent - 1) / 2 >= 7 + 157 and told.offset - (told.extent - 1) / 2 <= 7 - 157
    shallow = receptive_field(nn.Sequential(*list(network[0])[:7]))
    found = [seen(network.double(), x, *place) for place in ((42, 44), (43, 43))]
    for sides, place in zip(found, ((42, 44), (43, 43)), strict=True):
        # Places of odd number coincide with one of stride 16; those between two of these see half a stride more.
        reach = [(field.extent - (16 if i % 2 else 0) - 1) / 2 for i in place]
        centers = [field.offset + field.stride * i for i in place]
        wanted = [(c - r, c + r) for c, r in zip(centers, reach, strict=True)]
        assert [(first.item(), last.item()) for first, last in sides] == wanted
    assert shallow == (59, 8, 7.0)


@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 4), st.integers(-3, 3))
def test_regridding_puts_maps_where_they_lie(first, fine, times, offset):
    """A map that holds the places of its own pixels holds those of the other grid afterwards, between its outermost."""
    coarse, onto = ReceptiveField(3, fine * times, first + 0.5), ReceptiveField(1, fine, float(first + offset))
    own = coarse.offset + coarse.stride * torch.arange(6.0)
    there = onto.offset + onto.stride * torch.arange(9.0)
    got = regrid(own.expand(1, 1, 6, 6), coarse, onto, (9, 9))
    torch.testing.assert_close(got[0, 0, 0], there.clamp(own.min(), own.max()))
    torch.testing.assert_close(regrid(own[:, None].expand(1, 2, 6, 6), coarse, onto, (9, 4))[0, 1, :, 0], got[0, 0, 0])


def test_field_of_joined_layers_is_what_the_gradient_sees():
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, padding=1)]
    for parameter in nn.Sequential(*layers).parameters():
        nn.init.uniform_(parameter, 0.1, 1)
    layers[1] = nn.AvgPool2d(2)
    joined = mobilenet.Joined(layers, (0, 2))
    field, x = receptive_field(joined), torch.rand(1, 1, 48, 48, requires_grad=True)
    assert field[1:] == (1, 0.0) and field == joined.field
    reached = []
    for place in (23, 24):
        (gradient,) = torch.autograd.grad(joined(x)[0, :, place, place].sum(), x)
        rows = gradient[0, 0].sum(1).nonzero().flatten() - place
        assert rows.abs().max() <= (field.extent - 1) / 2
        reached.append(rows.abs().max().item())
    assert max(reached) == (field.extent - 1) // 2


def test_residual_blocks_of_torchvision_are_known():
    from torchvision.models import resnet18

    blocks = nn.Sequential(*list(resnet18().children())[:6])
    assert receptive_field(blocks) == (99, 8, 0.0)


def test_maps_of_squeezenet_at_224_px():
    network = networks.build("fcdd_squeezenet", 3).eval()
    field = receptive_field(network)
    assert field == (107, 8, 9.0)
    heat = upsample(torch.ones(1, 1, 27, 27), field, 224, 12.0)
    assert heat.shape == (1, 1, 224, 224) and heat[0, 0, 60:160, 60:160].std() < 0.05 * heat.max()


def test_field_of_nested_layers():
    inner = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Identity(), nn.BatchNorm2d(1), nn.Dropout())
    assert receptive_field(nn.Sequential(nn.Sequential(inner, nn.MaxPool2d(2)), inner)) == (8, 2, 0.5)
    assert receptive_field(nn.MaxPool2d(3, 2, ceil_mode=True)) == (3, 2, 1.0)


def test_layers_that_may_branch_are_refused():
    from torchvision.models import resnet18

    with pytest.raises(ValueError, match="found ResNet, whose receptive field is not known; write the network as an"):
        receptive_field(resnet18())
    for layer in (nn.GroupNorm(1, 1), nn.Upsample(scale_factor=2), nn.ConvTranspose2d(1, 1, 3)):
        with pytest.raises(ValueError, match=f"found {type(layer).__name__}, whose receptive field is not known"):
            receptive_field(nn.Sequential(layer))
    with pytest.raises(ValueError, match="numeric padding, found Conv2d"):
        receptive_field(nn.Conv2d(1, 1, 3, padding="same"))


def test_field_of_max_pooling():
    assert receptive_field(nn.MaxPool2d(3, 2, 1)) == (3, 2, 0.0)
    assert receptive_field(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, padding=1))) == (6, 2, 0.5)


def test_names_in_the_papers_table():
    fields = {name: receptive_field(networks.build(f"fcdd_{name}", 1)) for name in networks.TRUNKS}
    assert {name: field.extent for name, field in fields.items()} == {
        "cnn28": 16, "cnn28_w": 16, "cnn32": 32, "cnn32_s": 18, "cnn32_lw3k": 22, "cnn224": 59, "cnn224_w": 59,
        **{f"cnn32_{k}k": k + 15 for k in range(3, 18, 2)}, **{f"cnn224_{k}k": 19 * k - 4 for k in range(3, 14, 2)},
    }  # fmt: skip


def test_paddings_of_their_own():
    """TensorFlow's "same" pads a stride of 2 on the right and at the bottom only; the left and the top count."""
    for pad in (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, lambda sides: nn.ConstantPad2d(sides, 1.0)):
        assert receptive_field(nn.Sequential(pad((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, 2))) == (3, 2, 1.0)
        assert receptive_field(nn.Sequential(nn.MaxPool2d(2), pad((2, 0, 2, 3)), nn.Conv2d(3, 8, 3))) == (6, 2, -1.5)
    with pytest.raises(ValueError, match="as much padding on the left as at the top, found 0 and 1 in ZeroPad2d"):
        receptive_field(nn.Sequential(nn.ZeroPad2d((0, 1, 1, 0)), nn.Conv2d(3, 8, 3)))
    with pytest.raises(ValueError, match="found CircularPad2d"):  # sees the other side
        receptive_field(nn.CircularPad2d(1))


def test_field_of_mobilenet():
    """Depthwise convolutions and inverted residual blocks of torchvision's MobileNetV2, measured."""
    from torchvision.models import mobilenet_v2

    network = mobilenet_v2().features[:7].eval().double()
    field = receptive_field(network)
    assert field == (59, 8, 0.0)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.001, 0.01)
    x = torch.rand(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    (low, high), (left, right) = seen(network, x, 10, 9)
    assert (low, high, left, right) == (80 - 29, 80 + 29, 72 - 29, 72 + 29)


@pytest.mark.parametrize("layer", [nn.Linear(3, 1), nn.Flatten(), nn.AdaptiveAvgPool2d(1)])
def test_layers_that_see_everything_are_refused(layer):
    with pytest.raises(ValueError, match=f"fully convolutional network, found a {type(layer).__name__}"):
        receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), layer))


def test_layers_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match=r"square kernel_size, found \(3, 5\)"):
        receptive_field(nn.Sequential(nn.Conv2d(1, 1, (3, 5))))


# ---- upsampling ----


def dense(maps, field, size, sigma):
    """Algorithm 1 as written: full kernel, strided transposed convolution on a wide canvas, crop."""
    r, stride, offset = field
    kernel = gaussian_kernel(r, sigma).float()
    canvas = nn.functional.conv_transpose2d(maps, torch.outer(kernel, kernel)[None, None], stride=stride)
    whole = math.floor(offset)
    margin = size + r + abs(whole)  # room on all sides, then one crop
    canvas = nn.functional.pad(canvas, (margin,) * 4)
    start = margin + (r - 1) // 2 - whole
    return canvas[..., start : start + size, start : start + size]


@given(st.integers(1, 25), st.integers(1, 6), st.integers(1, 7), st.integers(1, 40),
       st.sampled_from([0.4, 1.2, 5, 12.0]), st.integers(-6, 5))  # fmt: skip
def test_separable_upsampling_equals_the_transposed_convolution(extent, stride, n, size, sigma, whole):
    field = ReceptiveField(extent, stride, whole + (0.0 if extent % 2 else 0.5))
    maps = torch.randn(2, 1, n, n, generator=torch.Generator().manual_seed(extent * n + size))
    torch.testing.assert_close(
        upsample(maps, field, size, sigma), dense(maps, field, size, sigma), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "field", [ReceptiveField(16, 4, 1.5), ReceptiveField(59, 8, 0.0), VGG, ReceptiveField(7, 3, 2.0)]
)
def test_a_delta_is_centred_where_the_pixel_looks(field):
    n = 8
    size = int(field.offset + field.stride * n) + 1
    for row, column in ((0, 0), (3, 4), (n - 1, 2)):
        maps = torch.zeros(1, 1, n, n)
        maps[0, 0, row, column] = 1
        heat = upsample(maps, field, size, sigma=2.0)[0, 0]
        brightest = (heat == heat.max()).nonzero().double().mean(0)  # an even field has a plateau of 2×2
        assert brightest.tolist() == [field.offset + row * field.stride, field.offset + column * field.stride]


@pytest.mark.parametrize("extent", [1, 2, 15, 16, 59, 62])
@pytest.mark.parametrize("sigma", [0.5, 1.2, 12.0])
def test_kernel_peak_and_symmetry(extent, sigma):
    kernel = gaussian_kernel(extent, sigma)
    assert len(kernel) == extent and torch.equal(kernel, kernel.flip(0))
    assert kernel.max().item() == (1.0 if extent % 2 else 0.5)


def test_gain_of_a_constant_map():
    """A constant map comes out with the gain of the papers' facts: 0.25 for CNN28 at sigma 1.2, 3.69 for VGG at 12."""
    for field, n, size, sigma, gain in ((ReceptiveField(16, 4, 1.5), 7, 28, 1.2, 0.25), (VGG, 28, 224, 12.0, 3.69)):
        inner = upsample(torch.ones(1, 1, n, n), field, size, sigma)[
            0, 0, size // 3 : -size // 3, size // 3 : -size // 3
        ]
        assert inner.mean().item() == pytest.approx(gain, rel=0.02)


def test_not_square_and_dtype():
    maps = torch.rand(3, 1, 5, 9)
    heat = upsample(maps, ReceptiveField(16, 4, 1.5), (20, 36), 1.2)
    assert heat.shape == (3, 1, 20, 36) and heat.dtype == torch.float32
    turned = upsample(maps.transpose(2, 3), ReceptiveField(16, 4, 1.5), (36, 20), 1.2)
    torch.testing.assert_close(heat, turned.transpose(2, 3))


def test_default_sigma():
    assert default_sigma(16) == pytest.approx(math.log10(0.45 * 16 + 1) + 0.25)
    assert default_sigma(31) < default_sigma(32) == 10
    maps, field = torch.rand(1, 1, 7, 7), ReceptiveField(16, 4, 1.5)
    assert torch.equal(upsample(maps, field, 28), upsample(maps, field, 28, default_sigma(16)))


def test_upsampling_asks_no_device_for_float64():
    """MPS has none: whatever is computed where the maps lie is float32 or a whole number."""

    class Kinds(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            seen.update(t.dtype for t in (result, *args) if isinstance(t, torch.Tensor) and t.device.type == "meta")
            return result

    seen = set()
    with Kinds():
        heat = upsample(torch.zeros(2, 1, 7, 7, device="meta"), VGG, 56, 12.0)
    assert heat.shape == (2, 1, 56, 56) and seen and seen <= {torch.float32, torch.int64, torch.bool}


@pytest.mark.parametrize("shape", [(7, 7), (1, 7, 7), (2, 3, 7, 7)])
def test_maps_of_other_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected maps of shape \(N, 1, u, v\), got"):
        upsample(torch.rand(shape), ReceptiveField(16, 4, 1.5), 28)
