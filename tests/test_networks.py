"""Networks by name: sizes and parameter counts of the official code, no biases where a bias means collapse."""

import io
import tarfile
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import SHARED
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from torch import nn
from torch.nn import functional as F

from fcdd import mobilenet, networks

# name in the golden file, ours, channels, side
GOLDEN = [
    ("FCDD_CNN28", "fcdd_cnn28", 1, 28),
    ("FCDD_CNN28_W", "fcdd_cnn28_w", 1, 28),
    ("FCDD_CNN32_LW3K", "fcdd_cnn32_lw3k", 3, 32),
    ("FCDD_CNN224", "fcdd_cnn224", 3, 224),
    ("FCDD_CNN224_VGG", "fcdd_vgg11bn", 3, 224),
]
BACKBONES = ("fcdd_vgg11bn", "fcdd_squeezenet", "hsc_vgg11bn")
MOBILENET = "mobilenet_v2_imagenet_int8.npz"


def side(name):
    return (
        224
        if "224" in name or name in (*BACKBONES, "fcdd_mobilenet", "hsc_mobilenet")
        else 32
        if "32" in name or "cifar" in name
        else 28
    )


@pytest.mark.parametrize("official, name, channels, size", GOLDEN)
def test_counts_and_map_shapes_equal_the_official_code(golden, official, name, channels, size):
    network = networks.build(name, channels)
    shape = networks.first_forward(network, channels, (size, size))
    assert networks.parameter_count(network) == int(golden[f"{official}/params"])
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
    (name, channels) for name in sorted(networks.NETWORKS)
    for channels in ((3,) if name in BACKBONES or "224" in name else (1, 3))
])  # fmt: skip
def test_every_network_takes_its_images(name, channels):
    network = networks.build(name, channels)
    shape = networks.first_forward(network, channels, (side(name),) * 2)
    if name.startswith("fcdd"):
        last = {28: 7, 32: 8, 224: 28}[side(name)] - (name == "fcdd_squeezenet")  # no padding in front
        assert shape == (2, 1, last, last)
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


@pytest.mark.parametrize("name, kind", [
    ("leaky_relu", nn.LeakyReLU), ("elu", nn.ELU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid),
])  # fmt: skip
@pytest.mark.parametrize("lenet", ["mnist_lenet", "fmnist_lenet", "cifar10_lenet"])
def test_activations_of_the_lenets(lenet, name, kind):
    network = networks.build(lenet, 1, activation=name)
    plain = networks.build(lenet, 1)
    assert sum(isinstance(layer, kind) for layer in network) == sum(isinstance(layer, nn.LeakyReLU) for layer in plain)
    assert networks.parameter_count(network) == networks.parameter_count(plain)
    with pytest.raises(ValueError, match="unknown activation 'relu6'; known: leaky_relu, elu, tanh, sigmoid"):
        networks.build(lenet, 1, activation="relu6")


def test_the_unused_layer_of_the_official_code_changes_nothing_but_the_count():
    network = networks.build("fcdd_cnn32_lw3k", 3).eval()
    unused = [layer for layer in network if isinstance(layer, networks.Unused)]
    assert networks.parameter_count(unused[0]) == 256 and len(unused) == 1
    images = torch.rand(2, 3, 32, 32)
    before = network(images)
    nn.init.normal_(unused[0].layer.weight)
    assert torch.equal(network(images), before)


# ---- batch normalisation of few channels ----


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("channels, size", [(8, 28), (4, 14), (40, 8), (16, 7), (8, 5), (3, 4)])
def test_batch_norm_is_that_of_pytorch(channels, size, affine):
    """Values, gradients and statistics, against PyTorch's layer in float64, and no less exact than it in float32."""
    ours = networks.BatchNorm(channels, affine)
    for weight in ours.parameters():
        nn.init.uniform_(weight, -1, 1)
    plain, exact = (
        nn.BatchNorm2d(channels, eps=1e-4, affine=affine).to(kind) for kind in (torch.float32, torch.float64)
    )
    plain.load_state_dict(ours.state_dict()), exact.load_state_dict(ours.state_dict())
    x = 3 + 2 * torch.randn(6, channels, size, size, generator=torch.Generator().manual_seed(0))
    x = (x * torch.arange(1, channels + 1)[:, None, None]).contiguous(memory_format=torch.channels_last)
    change = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))

    def results(layer):
        kind = next(layer.buffers()).dtype
        images = x.to(kind, memory_format=torch.preserve_format).requires_grad_()
        outputs = layer(images)
        gradients = torch.autograd.grad(outputs, [images, *layer.parameters()], change.to(kind))
        return [t.detach().double() for t in (outputs, *gradients, *layer.buffers(), layer.eval()(images))]

    for found, wanted in zip(results(ours), results(exact), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    assert ours.num_batches_tracked == 1 and str(ours)[9:] == str(plain)[11:]


def rows_taken(monkeypatch, layer, x):
    """Whether a layer takes its input as rows of pixels."""
    taken, apply = [], networks._Rows.apply
    monkeypatch.setattr(networks._Rows, "apply", lambda *arguments: taken.append(1) or apply(*arguments))
    layer(x)
    monkeypatch.undo()
    return bool(taken)


def test_only_few_channels_side_by_side_in_training_are_rows(monkeypatch):
    layer, x = networks.BatchNorm(8), torch.rand(4, 8, 6, 6)
    assert not rows_taken(monkeypatch, layer, x)  # channel by channel in memory
    x = x.contiguous(memory_format=torch.channels_last)
    assert rows_taken(monkeypatch, layer, x) and not rows_taken(monkeypatch, layer.eval(), x)
    assert not rows_taken(monkeypatch, networks.BatchNorm(32), torch.rand(4, 6, 6, 32).permute(0, 3, 1, 2))
    assert layer.train()(x.bfloat16()).dtype == torch.bfloat16


def test_long_sums_do_not_round():
    """PyTorch adds up the 100,352 pixels of a channel one after another; rows keep sixteen sums."""
    x = torch.randn(128, 8, 28, 28, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    exact = nn.functional.batch_norm(x.double(), None, None, training=True, eps=1e-4)
    assert (networks.BatchNorm(8)(x) - exact).abs().max() < 2e-6


# ---- backbones ----


@pytest.fixture(scope="module")
def states():
    """State dicts as torchvision would save them, with random numbers."""
    from torchvision import models

    torch.manual_seed(0)
    vgg = {k: torch.randn_like(v.float()).abs() * 0.05 for k, v in models.vgg11_bn().features.state_dict().items()}
    state = {f"features.{key}": value for key, value in vgg.items()}
    return {"fcdd_vgg11bn": state, "hsc_vgg11bn": state, "fcdd_squeezenet": models.squeezenet1_0().state_dict()}


def write(state, path):
    if path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in state.items()})
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".npz", ".safetensors"])
@pytest.mark.parametrize("name", ["fcdd_vgg11bn", "fcdd_squeezenet"])
def test_weights_from_a_file(tmp_path, states, name, suffix):
    network = networks.build(name, 3, weights=write(states[name], tmp_path / f"w{suffix}"))
    assert network.normalisation == "imagenet" and networks.build(name, 3).normalisation is None
    for key, value in network.state_dict().items():
        if f"features.{key}" in states[name] and not key.endswith("num_batches_tracked"):
            assert torch.equal(value, states[name][f"features.{key}"])


def test_weights_are_looked_for_where_data_lies(tmp_path, states, monkeypatch):
    monkeypatch.setenv("FCDD_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"no weights at w.npz, nor under that name in .*{tmp_path}"):
        networks.build("fcdd_squeezenet", 3, weights="w.npz")
    write(states["fcdd_squeezenet"], tmp_path / "w.npz")
    assert networks.build("fcdd_squeezenet", 3, weights="w.npz").normalisation == "imagenet"


@pytest.mark.parametrize("name, frozen, trained", [
    ("fcdd_vgg11bn", 962_304, 3_542_529), ("fcdd_squeezenet", 538_240, 66_049),
    ("hsc_vgg11bn", 962_304, 127_809_536),
])  # fmt: skip
def test_what_is_frozen(tmp_path, states, name, frozen, trained):
    path = write(states[name], tmp_path / "w.pth")

    def count(network):
        return sum(p.numel() for p in network.parameters() if not p.requires_grad)

    network = networks.build(name, 3, weights=path)
    assert count(network) == frozen and networks.parameter_count(network) - frozen == trained
    if name != "hsc_vgg11bn":  # large, and the same code
        assert count(networks.build(name, 3, weights=path, frozen=False)) == 0
        assert count(networks.build(name, 3)) == 0  # random features are worth training


@pytest.mark.parametrize("frozen_statistics", [True, False])
def test_statistics_of_frozen_layers(tmp_path, states, frozen_statistics):
    """Kept by default; drifting, as in the official code, if asked for. Trained layers' statistics always move."""
    path = write(states["fcdd_vgg11bn"], tmp_path / "w.pth")
    network = networks.build("fcdd_vgg11bn", 3, weights=path, frozen_statistics=frozen_statistics).train()
    before = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    network(torch.rand(2, 3, 32, 32))
    moved = {int(key.split(".")[0]) for key in before if not torch.equal(network.state_dict()[key], before[key])}
    assert moved == ({16, 19} if frozen_statistics else {1, 5, 9, 12, 16, 19})
    assert network.training and network[19].training and not network.eval()[19].training


def test_frozen_layers_are_one_function_in_training_and_scoring(tmp_path, states):
    path = write(states["fcdd_vgg11bn"], tmp_path / "w.pth")
    network, images = networks.build("fcdd_vgg11bn", 3, weights=path), torch.rand(2, 3, 32, 32)
    fixed = nn.Sequential(*list(network)[:15])
    network.train()
    training = fixed(images)
    network.eval()
    assert torch.equal(training, fixed(images))
    network.train()(images).sum().backward()
    assert [i for i, layer in enumerate(network) if any(p.grad is not None for p in layer.parameters())] == [
        15, 16, 18, 19, 21,
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["fcdd_vgg11bn", "fcdd_squeezenet"])
def test_weights_that_do_not_fit(tmp_path, states, name):
    other = "fcdd_squeezenet" if name == "fcdd_vgg11bn" else "fcdd_vgg11bn"
    with pytest.raises(ValueError, match="expected the weights of .* entries are missing"):
        networks.build(name, 3, weights=write(states[other], tmp_path / "other.pth"))
    for file in ("w.pth", "w.npz", "w.safetensors"):
        (tmp_path / file).write_bytes(b"these are no weights")
        with pytest.raises(ValueError, match=f"{file} cannot be read as a state dict .*; expected .pth, .pt, .npz or"):
            networks.build(name, 3, weights=tmp_path / file)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected a state dict in .*list.pth, found a list"):
        networks.build(name, 3, weights=tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected RGB images, got 1 channel; repeat grey ones"):
        networks.build(name, 1)


def test_a_file_that_runs_code_is_refused(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"features.0.weight": Harmful()}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="cannot be read as a state dict"):
        networks.build("fcdd_vgg11bn", 3, weights=tmp_path / "w.pth")


def test_weights_of_torchvision(states, monkeypatch):
    asked = []

    def fetch(url, **options):
        asked.append((url, options["check_hash"]))
        return states["fcdd_squeezenet"]

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    assert networks.build("fcdd_squeezenet", 3, weights="imagenet").normalisation == "imagenet"
    assert asked == [("https://download.pytorch.org/models/squeezenet1_0-b66bff10.pth", True)]


def test_addresses_are_those_of_torchvision():
    from torchvision import models

    for name, weights in (("vgg11_bn", models.VGG11_BN_Weights), ("squeezenet1_0", models.SqueezeNet1_0_Weights)):
        assert networks.HUB + networks.FILES[name] == weights.IMAGENET1K_V1.url


def test_without_a_network_the_text_says_how_to_get_the_weights(monkeypatch):
    def fetch(url, **options):
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    with pytest.raises(FileNotFoundError, match="vgg11_bn-6002323d.pth cannot be fetched .*; fetch it elsewhere and p"):
        networks.build("fcdd_vgg11bn", 3, weights="imagenet")


def test_real_squeezenet_weights(monkeypatch):
    file = "squeezenet1_0_imagenet_deepcompressed.npz"
    if not (SHARED / "data" / file).exists():
        pytest.skip(f"needs {file} in {SHARED / 'data'}")
    monkeypatch.setenv("FCDD_DATA", str(SHARED / "data"))
    network = networks.build("fcdd_squeezenet", 3, weights=file).eval()
    features = nn.Sequential(*list(network)[: network.fixed])(torch.rand(1, 3, 224, 224))
    assert features.shape == (1, 512, 27, 27) and 0.1 < (features > 0).float().mean() < 0.9


# ---- the backbone in the package ----

WEIGHTS = Path(networks.__file__).parent / "weights"


def plain(arrays, x, first, last):
    """Blocks ``first`` to ``last`` of MobileNetV2, in float64 and with TensorFlow's padding computed from the sizes."""
    for name in [key[:-5] for key in arrays if key.startswith("features") and key.endswith(".spec")]:
        if not first <= int(name.split(".")[1]) <= last:
            continue
        stride, activation, depthwise, residual = arrays[name + ".spec"].tolist()
        weight = torch.from_numpy(arrays[name + ".q"].astype(float) * arrays[name + ".scale"][:, None, None, None])
        if weight.shape[2:] == (1, 1) and activation and not depthwise:
            start = x  # of a block, where its expansion begins
        kernel, padding = weight.shape[2], []
        for side in (x.shape[3], x.shape[2]):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [missing // 2, missing - missing // 2]
        groups = x.shape[1] if depthwise else 1
        x = F.conv2d(
            F.pad(x, padding), weight, torch.from_numpy(arrays[name + ".bias"]).double(), stride, groups=groups
        )
        x = x.clamp(0, 6) if activation == 3 else x
        x = x + start if residual else x
    return x


def photograph(size=224):
    image = Image.fromarray(load_sample_images().images[0]).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None].double() / 127.5 - 1


@pytest.mark.parametrize("size", [64, 224])
def test_the_blocks_equal_a_plain_computation(size):
    """Written apart from the network, from the arrays and TensorFlow's rule of padding alone."""
    with np.load(WEIGHTS / "mobilenet_v2.npz") as file:
        arrays = dict(file)
    blocks, x = mobilenet.mobilenet_blocks(3), photograph(size)
    for last, stride, channels in ((6, 8, 32), (13, 16, 96)):
        got = nn.Sequential(*blocks[: last + 1])(x.float())
        assert got.shape == (1, channels, size // stride, size // stride)
        wanted = plain(arrays, x, 0, last)
        assert wanted.std() > 0.1
        torch.testing.assert_close(got.double(), wanted, rtol=1e-4, atol=1e-4)


def test_the_embedded_part_is_that_of_the_whole():
    """With the rest and the classifier of the published file our blocks name the objects of ImageNet's images."""
    if not (SHARED / "data" / MOBILENET).exists():
        pytest.skip(f"needs {MOBILENET} in {SHARED / 'data'}")
    with np.load(SHARED / "data" / MOBILENET) as whole, np.load(WEIGHTS / "mobilenet_v2.npz") as part:
        assert all(np.array_equal(part[key], whole[key]) for key in part.files)
        arrays = dict(whole)
    ours, right = nn.Sequential(*mobilenet.mobilenet_blocks(3)), []
    with tarfile.open(SHARED / "data" / "imagenet_sample_256.tar") as tar, torch.no_grad():
        members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
        members = [member for member in members if member.name.lower().endswith((".jpg", ".jpeg"))]
        assert len(members) == 1000
        for label in range(0, 1000, 40):
            image = Image.open(io.BytesIO(tar.extractfile(members[label]).read())).convert("RGB")
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            x = torch.from_numpy(np.asarray(image.crop((left, top, left + 224, top + 224))).transpose(2, 0, 1).copy())
            x = plain(arrays, ours(x[None].float() / 127.5 - 1).double(), 14, 18).mean((2, 3))
            weight = arrays["classifier.1.q"].reshape(1000, -1) * arrays["classifier.1.scale"].reshape(-1, 1)
            logits = (
                x @ torch.from_numpy(weight.astype(float)).T + torch.from_numpy(arrays["classifier.1.bias"]).double()
            )
            right.append(int(logits.argmax()) == label)
    assert np.mean(right) >= 0.76


def test_the_backbone_is_small_and_brings_its_licence():
    assert (WEIGHTS / "mobilenet_v2.npz").stat().st_size <= 650_000
    assert "Apache License" in (WEIGHTS / "LICENSE").read_text() and "google-coral" in (WEIGHTS / "NOTICE").read_text()


def test_grey_images_are_taken_as_if_repeated():
    grey = photograph(64)[:, :1].float()
    outputs = [networks.build("fcdd_mobilenet", c)[0](grey.expand(-1, c, -1, -1)) for c in (1, 3)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name, trained", [("fcdd_mobilenet", 33_281), ("hsc_mobilenet", 20_672)])
def test_only_the_head_of_the_backbone_is_trained(name, trained):
    network = networks.build(name, 3)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == trained
    assert network.normalisation == "signed"


def test_random_blocks_and_weights_that_are_none():
    one, other = mobilenet.mobilenet_blocks(3, None), mobilenet.mobilenet_blocks(3)
    assert [p.shape for b in one for p in b.parameters()] == [p.shape for b in other for p in b.parameters()]
    assert not torch.equal(one[0][1].weight, other[0][1].weight)
    with pytest.raises(ValueError, match="weights 'imagenet' .they are in the package. or None .*, got 'w.pth'"):
        networks.build("fcdd_mobilenet", 3, weights="w.pth")


# ---- bad input ----


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="unknown network 'resnet'; known: cifar10_lenet, fcdd_cnn224"):
        networks.build("resnet")


@pytest.mark.parametrize("name, size", [("mnist_lenet", (20, 20)), ("fcdd_cnn28", (3, 3)), ("fcdd_cnn224", (1, 1))])
def test_images_that_do_not_fit(name, size):
    if name == "fcdd_cnn224":  # poolings with padding never run out of pixels
        assert networks.first_forward(networks.build(name), 1, size) == (2, 1, 1, 1)
        return
    with pytest.raises(ValueError, match=f"the network can take, got 1 channels of {size[0]}×{size[1]} px"):
        networks.first_forward(networks.build(name), 1, size)


def test_first_forward_leaves_mode_and_statistics():
    network = networks.build("fcdd_cnn28").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    networks.first_forward(network, 1, (28, 28))
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
