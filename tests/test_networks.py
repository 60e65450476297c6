"""Networks by name: sizes and parameter counts of the official code, no biases where a bias means collapse."""

import pytest
import torch
from torch import nn

from fcdd import networks

# name in the golden file, ours, channels, side, parameters that only the official code has
GOLDEN = [
    ("FCDD_CNN28", "fcdd_cnn28", 1, 28, 0),
    ("FCDD_CNN28_W", "fcdd_cnn28_w", 1, 28, 0),
    # The official code defines a third batch normalisation (128 channels, weight and bias) and never uses it.
    ("FCDD_CNN32_LW3K", "fcdd_cnn32_lw3k", 3, 32, 256),
    ("FCDD_CNN224", "fcdd_cnn224", 3, 224, 0),
]


def side(name):
    return 224 if "224" in name else 32 if "32" in name or "cifar" in name else 28


@pytest.mark.parametrize("official, name, channels, size, unused", GOLDEN)
def test_counts_and_map_shapes_equal_the_official_code(golden, official, name, channels, size, unused):
    network = networks.build(name, channels)
    shape = networks.first_forward(network, channels, (size, size))
    assert networks.parameter_count(network) + unused == int(golden[f"{official}/params"])
    assert list(shape) == golden[f"{official}/map_shape"].tolist()
    assert shape[-1] == int(golden[f"{official}/n"])


@pytest.mark.parametrize("name, channels, count, dim", [
    ("mnist_lenet", 1, 7_272, 32), ("fmnist_lenet", 1, 222_096, 64), ("cifar10_lenet", 3, 520_544, 128),
])  # fmt: skip
def test_lenets_of_the_papers(name, channels, count, dim):
    network = networks.build(name, channels)
    assert networks.parameter_count(network) == count
    assert networks.first_forward(network, channels, (side(name),) * 2) == (2, dim)
    assert not [key for key, _ in network.named_parameters() if "bias" in key]  # a bias can learn any constant
    assert network(torch.zeros(2, channels, side(name), side(name))).abs().max() == 0


@pytest.mark.parametrize("name, channels", [
    (name, channels) for name in sorted(networks.NETWORKS) for channels in ((3,) if "224" in name else (1, 3))
])  # fmt: skip
def test_every_network_takes_its_images(name, channels):
    network = networks.build(name, channels)
    shape = networks.first_forward(network, channels, (side(name),) * 2)
    if name.startswith("fcdd"):
        assert shape == (2, 1, *{28: (7, 7), 32: (8, 8), 224: (28, 28)}[side(name)])
    else:
        assert len(shape) == 2 and shape[0] == 2
    assert not any(isinstance(p, nn.parameter.UninitializedParameter) for p in network.parameters())


@pytest.mark.parametrize("table", ["cnn28", "cnn32_lw3k", "cnn224"])
def test_dense_twin_has_the_same_trunk(table):
    fcdd, hsc = networks.build(f"fcdd_{table}", 1), networks.build(f"hsc_{table}", 1)

    def trunk(network):
        return [str(layer) for layer in network if isinstance(layer, (nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d))]

    assert trunk(fcdd)[:-1] == trunk(hsc)  # all but the last, the 1×1 convolution


@pytest.mark.parametrize("name", ["fcdd_cnn28", "hsc_cnn28", "hsc_cnn32"])
def test_bias_can_be_left_out(name):
    network = networks.build(name, 1, bias=False)
    networks.first_forward(network, 1, (side(name),) * 2)
    assert not [key for key, _ in network.named_parameters() if "bias" in key]


def test_layers_follow_the_official_recipe():
    network = networks.build("fcdd_cnn32_lw3k", 3)
    assert {layer.eps for layer in network if isinstance(layer, nn.BatchNorm2d)} == {1e-4}
    assert {layer.negative_slope for layer in network if isinstance(layer, nn.LeakyReLU)} == {0.01}
    assert not isinstance(network[-2], nn.LeakyReLU)  # no activation before the 1×1 convolution


@pytest.mark.parametrize("name, channels", [
    ("mnist_lenet", 1), ("fmnist_lenet", 3), ("cifar10_lenet", 3), ("hsc_cnn28", 1), ("hsc_cnn32", 3),
])  # fmt: skip
def test_decoder_mirrors_the_encoder(name, channels):
    encoder, size = networks.build(name, channels), side(name)
    networks.first_forward(encoder, channels, (size, size))
    decoder = networks.decoder(encoder, (channels, size, size))
    images = decoder(encoder.eval()(torch.rand(3, channels, size, size)))
    assert images.shape == (3, channels, size, size) and 0 <= images.min() <= images.max() <= 1
    assert not [key for key, _ in decoder.named_parameters() if "bias" in key]


def test_decoder_of_an_odd_latent_space():
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(100, 50))
    with pytest.raises(ValueError, match="multiple of 16 outputs, got 50"):
        networks.decoder(encoder, (1, 28, 28))


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="unknown network 'resnet'; known: cifar10_lenet, fcdd_cnn224"):
        networks.build("resnet")


@pytest.mark.parametrize("name, size", [("mnist_lenet", (20, 20)), ("fcdd_cnn28", (3, 3)), ("fcdd_cnn224", (1, 1))])
def test_images_that_do_not_fit(name, size):
    if name == "fcdd_cnn224":  # poolings with padding never run out of pixels
        assert networks.first_forward(networks.build(name), 1, size) == (2, 1, 1, 1)
        return
    with pytest.raises(ValueError, match=f"cannot take images of {size[0]}×{size[1]} px, 1 channels"):
        networks.first_forward(networks.build(name), 1, size)


def test_first_forward_leaves_mode_and_statistics():
    network = networks.build("fcdd_cnn28").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    networks.first_forward(network, 1, (28, 28))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
