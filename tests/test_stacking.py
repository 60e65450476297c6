"""Stacked training against one after another: the same random numbers, the same weights up to rounding."""

import contextlib
import copy
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

import fcdd
from fcdd import augment, estimator, exposure, many, networks, objectives, stacking, training
from fcdd.many import fit_all
from fcdd.metrics import auroc

BACKBONES = ("fcdd_vgg11bn", "fcdd_squeezenet", "hsc_vgg11bn", "fcdd_mobilenet", "hsc_mobilenet")
# Of the receptive-field ablations, alike but for a kernel's size, the smallest stand for all.
STACKABLE = [name for name in networks.NETWORKS if name not in BACKBONES and not re.search(r"_([5-9]|1\d)k$", name)]
TINY = {"epochs": 2, "batch_size": 16, "device": "cpu"}


def shape_of(name):
    """Grey 28 px images where a network was made for them, else small colour images."""
    return (1, 28, 28) if "28" in name or "mnist" in name else (3, 32, 32)


def build(name, seed=0, **options):
    channels, *size = shape_of(name)
    torch.manual_seed(seed)
    network = networks.build(name, channels, **options)
    networks.first_forward(network, channels, size)
    return network


def equal(first, second, rtol=1e-4, atol=1e-5):
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=rtol, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


@pytest.fixture
def float32(monkeypatch):
    """Without autocast: bfloat16 has three digits, in which nothing could be compared."""
    monkeypatch.setattr(training, "mixed_precision", lambda device: contextlib.nullcontext())


@pytest.fixture(scope="module")
def classes():
    """40 images each of three classes."""
    names = ("Ankle boot", "Trouser", "Bag")
    return [fcdd.datasets.load("fashion-mnist-small", name).train.images[:40] for name in names]


@pytest.fixture(scope="module")
def colours():
    return [exposure.photographs(3, (32, 32), count=40, seed=seed) for seed in range(3)]


# ---- the network ----


@pytest.mark.parametrize("name", STACKABLE)
def test_outputs_gradients_and_statistics_equal_those_of_the_members(name):
    """In float64, where equal means equal."""
    alone = [build(name, seed).double().train() for seed in range(3)]
    members = copy.deepcopy(alone)
    x = torch.rand(3, 4, *shape_of(name), dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    outputs = [network(part) for network, part in zip(alone, x, strict=True)]
    stack = stacking.Stack(members).train()
    together = stack(x.flatten(0, 1))
    torch.testing.assert_close(together, torch.cat(outputs))
    for result in (torch.cat(outputs), together):
        (result**2).sum().backward()
    with torch.no_grad():
        for network in (*alone, stack):
            for p in network.parameters():
                if p.grad is not None:  # an unused layer has none
                    p -= 0.01 * p.grad
    stack.release()
    for one, member in zip(alone, members, strict=True):
        equal(one.state_dict(), member.state_dict(), 1e-7, 1e-9)


def test_members_look_into_the_stack_until_released():
    members = [build("fcdd_cnn28", seed) for seed in range(2)]
    before = [copy.deepcopy(member.state_dict()) for member in members]
    stack = stacking.Stack(members)
    for member, old in zip(members, before, strict=True):
        equal(member.state_dict(), old, 0, 0)
    assert sum(p.numel() for p in stack.parameters()) == 2 * networks.parameter_count(members[0])
    with torch.no_grad():
        for p in stack.parameters():
            p += 1
    stack.release()
    storages = {t.untyped_storage().data_ptr() for member in members for t in member.state_dict().values()}
    assert len(storages) == 2 * len(before[0])
    for member, old in zip(members, before, strict=True):
        equal(dict(member.named_parameters()), {k: old[k] + 1 for k, _ in member.named_parameters()})
        assert all(t.untyped_storage().nbytes() == t.nbytes for t in member.state_dict().values())


def test_the_context_releases_whatever_happens():
    members = [build("mnist_lenet", seed) for seed in range(2)]
    with pytest.raises(KeyError), stacking.stacked(members):
        raise KeyError
    assert all(t.untyped_storage().nbytes() == t.nbytes for m in members for t in m.state_dict().values())
    with stacking.stacked(members[:1]) as network:
        assert network is members[0]


def test_frozen_layers_stay_frozen():
    members = [build("fcdd_cnn28", seed) for seed in range(2)]
    for member in members:
        member[0].requires_grad_(False)
    stack = stacking.Stack(members)
    assert [p.requires_grad for p in stack.parameters()] == [p.requires_grad for p in members[0].parameters()]
    stack.release()
    members[1].requires_grad_(False)
    with pytest.raises(ValueError, match="same layers frozen; train them one after another"):
        stacking.Stack(members)


def two(make):
    return [make(), make()]


def twice():
    layer = nn.Conv2d(1, 1, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize("members, text", [
    (two(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout())), "a Dropout layer cannot be stacked"),
    (two(lambda: nn.Sequential(nn.Flatten(0))), "a Flatten layer cannot be stacked"),
    (two(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softmax(1))), "a Softmax layer cannot be stacked.*Known: Seq"),
    (two(lambda: networks.build("fcdd_squeezenet", 3)), "a Backbone layer cannot be stacked"),
    (two(twice), "used twice cannot be stacked"),
    ([nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 5)], "networks of one architecture, got several kinds"),
])  # fmt: skip
def test_what_cannot_be_stacked(members, text):
    with pytest.raises(ValueError, match=text):
        stacking.Stack(members)
    assert all(t.untyped_storage().nbytes() == t.nbytes for m in members for t in m.state_dict().values())


def test_stackable():
    assert all(stacking.stackable(build(name), shape_of(name)) for name in ("mnist_lenet", "fcdd_cnn32", "hsc_cnn32_s"))
    assert not stacking.stackable(networks.build("fcdd_squeezenet", 3), (3, 64, 64))
    # A dense layer over the columns of an image would see those of all models.
    assert not stacking.stackable(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Linear(26, 4)), (1, 28, 28))


# ---- how many ----


def test_limit():
    narrow, wide = build("fcdd_cnn28"), build("fcdd_cnn28_w")
    assert stacking.stack_size(narrow, (1, 28, 28), 128, 0, "cpu") == stacking.MOST > 1
    assert stacking.stack_size(wide, (1, 28, 28), 128, 0, "cpu") == 1
    assert stacking.stack_size(narrow, (1, 28, 28), 128, 10**15, "cpu") == 1


def test_half_of_the_memory_is_filled(monkeypatch):
    one = stacking.FACTOR * 128 * stacking.activation_bytes(build("fcdd_cnn28_w"), (1, 28, 28)) + 1000
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * 7 * one + 5, 10**12))
    assert stacking.stack_size(build("fcdd_cnn28_w"), (1, 28, 28), 128, 1000, "cuda") == 7


def test_activations_are_what_the_layers_put_out():
    network = nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), nn.Flatten())
    assert stacking.activation_bytes(network, (1, 8, 8)) == 4 * (2 * 64 + 2 * 64 + 2 * 16 + 2 * 16)
    assert network.training


# ---- batches ----


def source(seed, n=20, masks=False, **options):
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 28, 28), generator=draws, dtype=torch.uint8)
    bank = torch.randint(0, 256, (9, 1, 28, 28), generator=draws, dtype=torch.uint8)
    y = torch.where(torch.arange(n) % 5 == seed, -1, 0)
    options = {"exposure": exposure.from_bank(bank), "augment": augment.papers_recipe} | options
    prepare = augment.fit_normalisation(images[y >= 0] // (seed + 1))
    return training.Batches(images, y, prepare, draws, masks=images > 200 if masks else None, **options)


@pytest.mark.parametrize("options", [
    {}, {"masks": True}, {"exposure": None}, {"exposure": exposure.PASTED["confetti-masks"], "masks": True},
    {"augment": augment.recipe("parts"), "masks": True}, {"augment": None},
])  # fmt: skip
def test_every_model_sees_what_it_sees_alone(options):

    def two_epochs(batches):
        return [batch for _ in range(2) for batch in batches.epoch(8)]

    alone = [two_epochs(source(seed, **options)) for seed in range(3)]
    both = training.end_to_end([source(seed, **options) for seed in range(3)])
    assert both.models == 3
    batches = two_epochs(both)
    assert [len(x) for x, _, _ in batches] == [24, 24, 12] * 2
    for together, *parts in zip(batches, *alone, strict=True):
        for whole, *own in zip(together, *parts, strict=True):
            if whole is None:
                assert own == [None] * 3
            else:
                torch.testing.assert_close(whole, torch.cat(own), rtol=1e-5, atol=1e-5)


def test_batches_of_one_model_are_themselves():
    one = source(0)
    assert training.end_to_end([one]) is one and one.models == 1


@pytest.mark.parametrize("options", [
    {"n": 21}, {"masks": True}, {"exposure": None}, {"augment": None}, {"share": 0.3}
])  # fmt: skip
def test_batches_that_cannot_be_joined(options):
    with pytest.raises(ValueError, match="the same number, shape and type of images.*got 2 kinds; train them one"):
        training.end_to_end([source(0), source(1, **options)])


def test_a_last_batch_of_one_image_each_is_left_out():
    both = training.end_to_end([source(seed, n=17) for seed in range(2)])
    assert [len(x) for x, _, _ in both.epoch(8)] == [16, 16]


# ---- the loop ----


def loss(outputs, y, masks):
    return objectives.hypersphere(outputs.flatten(1), y)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["mnist_lenet", "fmnist_lenet", "hsc_cnn28", "fcdd_cnn28", "fcdd_cnn28_w"])
def test_stacked_training_equals_one_after_another(float32, name, optimizer):
    """Weights in float64: Adam makes whole steps of gradients that are nothing but rounding."""
    schedule = training.Schedule(2, 8, 1e-3, optimizer, decay=0.5)

    def inputs(seed):
        batches = source(seed)
        normalise = batches.prepare
        batches.prepare = lambda x: normalise(x).double()
        return batches

    alone = [build(name, seed).double() for seed in range(3)]
    members = copy.deepcopy(alone)
    histories = [training.train(n, loss, inputs(seed), schedule) for seed, n in enumerate(alone)]
    both = training.end_to_end([source(seed) for seed in range(3)])
    normalise, both.prepare = both.prepare, None
    both.prepare = lambda x: normalise(x).double()
    with stacking.stacked(members) as network:
        stacked = training.train(network, loss, both, schedule)
    np.testing.assert_allclose(stacked, histories, rtol=1e-5)
    for one, member in zip(alone, members, strict=True):
        equal(one.state_dict(), member.state_dict(), 1e-3, 1e-5)
        assert not member.training


def test_a_loss_that_explodes_names_the_models():
    members = [build("mnist_lenet", seed) for seed in range(3)]
    both = training.end_to_end([source(seed) for seed in range(3)])

    def explode(outputs, y, masks):
        return outputs.sum(1) * torch.tensor([1.0, float("nan"), float("inf")]).repeat_interleave(len(y) // 3)

    with (
        stacking.stacked(members) as network,
        pytest.raises(
            FloatingPointError, match=r"the loss of model 2, 3 of 3 became nan in batch 1 of epoch 1; nothing"
        ),
    ):
        training.train(network, explode, both, training.Schedule(2, 8, 0.1))


# ---- detectors ----

CASES = {
    "FCDD": ("FCDD", {"network": "fcdd_cnn28"}),
    "FCDD colour": ("FCDD", {"network": "fcdd_cnn32_s"}),
    "FCDD pixels": ("FCDD", {"network": "fcdd_cnn28", "exposure": "confetti-masks"}),
    "HSC": ("HSC", {"network": "hsc_cnn28"}),
    "HSC bce": ("HSC", {"network": "hsc_cnn28", "objective": "bce"}),
    "HSC focal": ("HSC", {"network": "hsc_cnn28", "objective": "focal"}),
    "HSC colour": ("HSC", {"network": "hsc_cnn32_s", "learning_rate": 1e-3}),
    "Deep SVDD": ("DeepSVDD", {"network": "mnist_lenet", "pretrain_epochs": 1}),
    "Deep SVDD dense": ("DeepSVDD", {"network": "fmnist_lenet"}),
    "Deep SVDD colour": ("DeepSVDD", {"network": "cifar10_lenet", "pretrain_epochs": 1}),
    "Deep SVDD soft": ("DeepSVDD", {"network": "mnist_lenet", "objective": "soft-boundary", "warmup_epochs": 1}),
    "Deep SAD": ("DeepSAD", {"network": "fmnist_lenet", "pretrain_epochs": 1}),
    "Autoencoder": ("Autoencoder", {"network": "mnist_lenet"}),
    "Autoencoder dense": ("Autoencoder", {"network": "fmnist_lenet", "normalisation": "standard"}),
}


def make(case, count=3, **options):
    name, own = CASES[case]
    if name == "DeepSVDD":
        own = {"learning_rate": 1e-4, **own}  # so that rounding does not grow: its loss is a square of large numbers
    return [getattr(fcdd, name)(**{**TINY, "optimizer": "sgd", **own, **options}, seed=seed) for seed in range(count)]


def alike(alone, stacked, X):
    """Fitted to the same, up to rounding, which grows with every step: in float64, weights differ by 2e-16 after two
    epochs of "HSC colour", in float32 by 7e-6 after one, 7e-5 after two and 2e-4 after three."""
    assert {k for k in vars(alone) if k.endswith("_")} == {k for k in vars(stacked) if k.endswith("_")}
    equal(alone.network_.state_dict(), stacked.network_.state_dict(), 1e-3, 1e-4)
    np.testing.assert_allclose(stacked.history_, alone.history_, rtol=1e-4)
    assert type(stacked.history_) is list and stacked.offset_ == pytest.approx(alone.offset_, rel=1e-3, abs=1e-5)
    np.testing.assert_allclose(stacked.anomaly_score(X), alone.anomaly_score(X), rtol=1e-3, atol=1e-5)
    if hasattr(alone, "center_"):
        torch.testing.assert_close(stacked.center_, alone.center_, rtol=1e-3, atol=1e-5)
        assert stacked.radius_ == pytest.approx(alone.radius_, rel=1e-3) and type(stacked.radius_) is float


@pytest.mark.parametrize("case", CASES)
def test_fit_all_equals_fit(float32, classes, colours, case):
    """Three classes and three seeds in one stack; labelled anomalies where they are learnt from."""
    X = colours if "colour" in case else classes
    y = [torch.where(torch.arange(40) % 9 == k, -1, 0) for k in range(3)]
    y = y if CASES[case][0] in ("DeepSAD", "FCDD", "HSC") else [None] * 3
    alone = [one.fit(images, own) for one, images, own in zip(make(case), X, y, strict=True)]
    stacked = make(case)
    assert fit_all(stacked, X, y, stack=3) == stacked
    for k in range(3):
        alike(alone[k], stacked[k], X[0])


def stacks_of(monkeypatch):
    """The sizes of the stacks that are trained from now on."""
    sizes, fit = [], many.fit_stack
    for module in (many, estimator):
        monkeypatch.setattr(
            module, "fit_stack", lambda members, *rest: (sizes.append(len(members)), fit(members, *rest))
        )
    return sizes


def test_the_limit_changes_nothing_but_rounding(float32, classes, monkeypatch):
    X = [classes[k % 3] for k in range(5)]
    whole = fit_all(make("FCDD", 5), X, stack=5)
    sizes = stacks_of(monkeypatch)
    parts = fit_all(make("FCDD", 5), X, stack=2)
    assert sizes == [2, 2, 1]
    for one, other in zip(whole, parts, strict=True):
        alike(one, other, X[0])


def test_too_little_memory_halves_the_stack(float32, classes, monkeypatch):
    whole = fit_all(make("FCDD"), classes, stack=3)
    fit = many.fit_stack
    sizes = []

    def small(members, *rest):
        sizes.append(len(members))
        if len(members) > 1:
            raise torch.OutOfMemoryError
        fit(members, *rest)

    for module in (many, estimator):
        monkeypatch.setattr(module, "fit_stack", small)
    for one, other in zip(whole, fit_all(make("FCDD"), classes, stack=3), strict=True):
        alike(one, other, classes[0])
    assert sizes == [3, 2, 1, 1, 1]
    for module in (many, estimator):
        monkeypatch.setattr(module, "fit_stack", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(UserWarning, match="batches of 2$"):
        fit_all(make("FCDD", 2), classes[:2])


@pytest.mark.parametrize("kind", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)])
def test_autocast_ranks_alike(boots, kind, monkeypatch):
    """In bfloat16, which this CPU may only imitate, stacked and alone rank the test images as well as in float32."""
    monkeypatch.setattr(
        training, "mixed_precision", lambda device: torch.autocast(device.type, torch.bfloat16, kind == torch.bfloat16)
    )
    options = {"network": "fcdd_cnn28", "epochs": 6, "batch_size": 32, "device": "cpu"}
    alone = [fcdd.FCDD(**options, seed=seed).fit(boots.train.images) for seed in range(2)]
    stacked = fit_all([fcdd.FCDD(**options, seed=seed) for seed in range(2)], [boots.train.images] * 2)
    for one, other in zip(alone, stacked, strict=True):
        first, second = (auroc(boots.test.anomalous, d.anomaly_score(boots.test.images)) for d in (one, other))
        assert first > 0.8 and second == pytest.approx(first, abs=0.02)


def unlike(classes):
    """Detectors and images that differ in what a stack must share, each kind beside one of the first kind."""
    tiny = {**TINY, "epochs": 1}
    own = nn.Sequential(nn.Conv2d(1, 4, 5), nn.Dropout(0.5), nn.Conv2d(4, 1, 5))
    found = []
    for change in ({"learning_rate": 0.02}, {"batch_size": 8}, {"nu": 0.2}, {"exposure": None}, {"objective": "pixels"},
                   {"network": "fcdd_cnn28_w"}, {"normalisation": "unit"}, {"network": own}):  # fmt: skip
        found.append((fcdd.FCDD(**{"network": "fcdd_cnn28", **tiny, **change}), classes[0]))
    found.append((fcdd.HSC(network="hsc_cnn28", **tiny), classes[0]))
    found.append((fcdd.FCDD(network="fcdd_cnn28", **tiny), classes[0][:30]))
    found.append((fcdd.FCDD(network="fcdd_cnn28", **tiny), classes[0][..., :24, :24]))
    found.append((fcdd.FCDD(network="fcdd_cnn28", **tiny), classes[0].float() / 255))
    return found


def test_those_that_do_not_fit_together_are_fitted_one_by_one(classes, monkeypatch):
    """Bit-equal to fit; even two of one kind, if their network cannot be stacked."""
    pairs = unlike(classes)
    X = [images for _, images in pairs]
    sizes = stacks_of(monkeypatch)
    torch.manual_seed(0)  # of the dropout
    together = fit_all([clone(one) for one, _ in pairs], X)
    assert sizes == [1] * len(pairs)
    for k, (one, images) in enumerate(pairs):
        if isinstance(one.network, str):
            alone = clone(one).fit(images)
            equal(alone.network_.state_dict(), together[k].network_.state_dict(), 0, 0)
            assert alone.offset_ == together[k].offset_ and alone.history_ == together[k].history_
    sizes.clear()
    dropout = [clone(one) for one, _ in pairs if not isinstance(one.network, str)]
    fit_all([*dropout, *map(clone, dropout)], [classes[0], classes[1]])
    assert sizes == [1, 1]


def test_a_mixture_keeps_the_order_and_stacks_what_it_can(classes, monkeypatch):
    tiny = {**TINY, "epochs": 1}
    mixed = [
        fcdd.FCDD(network="fcdd_cnn28", **tiny),
        fcdd.HSC(network="hsc_cnn28", **tiny),
        fcdd.FCDD(network="fcdd_cnn28", seed=1, **tiny),
        fcdd.FCDD(network="fcdd_cnn28", seed=2, milestones=(1,), **tiny),
    ]
    sizes = stacks_of(monkeypatch)
    assert fit_all(mixed, [classes[0], classes[1], classes[2], classes[0]]) == mixed
    assert sizes == [2, 1, 1]
    assert all(one.anomaly_map(classes[0][:2]).shape == (2, 28, 28) for one in mixed)


def test_a_stacked_detector_is_like_any_other(classes, tmp_path):
    first, second = fit_all(make("Deep SVDD", 2), classes[:2])
    scores = first.anomaly_score(classes[2])
    first.save(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(fcdd.DeepSVDD.load(tmp_path / "one.safetensors").anomaly_score(classes[2]), scores)
    np.testing.assert_array_equal(copy.deepcopy(first).anomaly_score(classes[2]), scores)
    assert not hasattr(clone(first), "network_")
    second.fit(classes[2])  # must not touch its neighbour
    np.testing.assert_array_equal(first.anomaly_score(classes[2]), scores)
    equal(clone(second).fit(classes[2]).network_.state_dict(), second.network_.state_dict(), 0, 0)


def test_the_same_seeds_give_the_same_bits(classes):
    first, second = (fit_all(make("FCDD", 2), classes[:2]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        equal(one.network_.state_dict(), other.network_.state_dict(), 0, 0)
        assert one.history_ == other.history_ and one.offset_ == other.offset_
    assert not torch.equal(first[0].network_[0].weight, first[1].network_[0].weight)


def test_global_random_state_is_left_alone(classes):
    state = torch.get_rng_state()
    fit_all(make("FCDD", 2), classes[:2])
    assert torch.equal(state, torch.get_rng_state())


def test_a_stack_that_fails_is_left_unfitted(classes):
    """One blank set of images among three: nobody scores with half of a fit, and each can be fitted alone."""
    X = [classes[0], torch.zeros_like(classes[1]), classes[2]]
    members = make("FCDD")
    fit_all(members, classes)  # an earlier fit must not survive either
    with pytest.raises(RuntimeError, match="FCDD collapsed"):
        fit_all(members, X)
    for member in members:
        with pytest.raises(NotFittedError):
            member.anomaly_score(classes[0])
    members[0].fit(X[0])
    alike(make("FCDD", 1)[0].fit(X[0]), members[0], X[0])


@pytest.mark.parametrize("call, text", [
    (lambda X: fit_all([fcdd.SVDD()], X[:1]), "expected deep detectors: DeepSVDD, DeepSAD, HSC, FCDD or Autoencoder"),
    (lambda X: fit_all(make("FCDD"), X[:2]), "images and labels for each of 3 different detectors, got 2 and 2"),
    (lambda X: fit_all(make("FCDD"), X, [None]), "for each of 3 different detectors, got 3 and 1"),
    (lambda X: fit_all(2 * make("FCDD", 1), X[:2]), "for each of 2 different detectors"),
    (lambda X: fit_all(make("FCDD"), X, stack=0), "a stack of at least 1 network, or None for the best, got 0"),
    (lambda X: fit_all(make("FCDD", 1), [X[0][:, 0]]), "add the channel axis"),
    (lambda X: fit_all(make("FCDD", 2, nu=2), X[:2]), "0 < nu <= 1, got 2"),
    (lambda X: fit_all(make("FCDD", 2, network="resnet18"), X[:2]), "unknown network 'resnet18'"),
])  # fmt: skip
def test_fit_all_refuses(classes, call, text):
    with pytest.raises(ValueError, match=text):
        call(classes)


def test_nothing_to_fit():
    assert fit_all([], []) == []


# ---- the last digits ----


@pytest.mark.parametrize("case", ["FCDD", "HSC", "Deep SVDD"])
def test_company_changes_no_bit(classes, case):
    """The same place in a stack of the same size gives the same bits, whoever else is in it."""
    first, second = make(case), make(case)
    fit_all(first, classes, stack=3)
    fit_all(second, [classes[0], classes[0], classes[2].flip(3)], stack=3)
    equal(first[0].network_.state_dict(), second[0].network_.state_dict(), 0, 0)
    assert first[0].offset_ == second[0].offset_ and first[0].history_ == second[0].history_


def test_a_part_that_is_wanted_comes_out_of_whole_stacks(classes):
    X = [classes[k % 3] for k in range(5)]
    whole = fit_all(make("HSC", 5), X, stack=2)
    some = make("HSC", 5)
    assert list(many.fit_in_stacks(some, X, stack=2, wanted=[3])) == [[2, 3]]
    for k in (2, 3):
        equal(some[k].network_.state_dict(), whole[k].network_.state_dict(), 0, 0)
        assert some[k].offset_ == whole[k].offset_
    with pytest.raises(NotFittedError):
        some[0].anomaly_score(X[0])


def test_the_old_name_of_the_stack_works_and_says_so(classes):
    with pytest.warns(DeprecationWarning, match=r"is now fit_all\(stack=...\)"):
        fit_all(make("FCDD"), classes, limit=3)
