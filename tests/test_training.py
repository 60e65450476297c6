"""The training loop, its batches and schedules."""

import pytest
import torch
from torch import nn

from fcdd import augment, objectives, training


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbered(n, size=28):
    """Images that carry their number in every pixel, 1 … n."""
    return torch.arange(1, n + 1, dtype=torch.uint8)[:, None, None, None].expand(n, 1, size, size).contiguous()


def unchanged(x):
    return x.float()


def batches(images, y=None, **options):
    y = torch.zeros(len(images), dtype=torch.int64) if y is None else y
    return training.Batches(
        images, y, options.pop("prepare", unchanged), options.pop("generator", generator()), **options
    )


def black(x, _):
    return torch.zeros_like(x), None


# ---- batches ----


def test_an_epoch_draws_every_image_once_in_a_new_order():
    source = batches(numbered(50))
    epochs = [torch.cat([x[:, 0, 0, 0] for x, _, _ in source.epoch(16)]) for _ in range(2)]
    for numbers in epochs:
        assert sorted(numbers.tolist()) == list(range(1, 51))
    assert not torch.equal(*epochs)
    assert [len(x) for x, _, _ in source.epoch(16)] == [16, 16, 16, 2]


def test_a_last_batch_of_one_is_left_out():
    assert [len(x) for x, _, _ in batches(numbered(33)).epoch(16)] == [16, 16]
    assert [len(x) for x, _, _ in batches(numbered(1)).epoch(16)] == [1]


def test_about_half_of_the_nominal_images_become_outliers_and_their_labels_say_so():
    source = batches(numbered(200), exposure=black)
    shares = []
    for _ in range(20):
        for x, y, masks in source.epoch(100):
            assert torch.equal(y < 0, x[:, 0, 0, 0] == 0) and masks is None
            shares.append((y < 0).float().mean())
    assert torch.stack(shares).mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_share_of_outliers(share):
    ((_, y, _),) = batches(numbered(200), exposure=black, share=share).epoch(200)
    assert (y < 0).float().mean().item() == pytest.approx(share, abs=0.1 * (0 < share < 1))


def test_labelled_anomalies_are_not_replaced():
    y = torch.tensor([-1, 0, 1, 0] * 25)
    for x, labels, _ in batches(numbered(100), y, exposure=black, share=1.0).epoch(50):
        kept = x[:, 0, 0, 0] > 0
        assert torch.equal(y[x[kept, 0, 0, 0].long() - 1], torch.full((int(kept.sum()),), -1))
        assert (labels == -1).all()


def test_labels_stay_with_their_images():
    y = torch.arange(60) % 3 - 1
    for x, labels, _ in batches(
        numbered(60), y, augment=lambda x, masks, draws: (augment.random_flip(x, draws), masks)
    ).epoch(16):
        assert torch.equal(labels, y[x[:, 0, 0, 0].long() - 1])


@pytest.mark.parametrize("kind", ["uint8", "float"])
def test_masks_move_with_their_images(kind):
    """The mask of an image is where the image is bright; so it must be after crops and flips."""
    images = (torch.rand(40, 1, 28, 28, generator=generator(1)) > 0.7).to(torch.uint8) * 255
    masks = images > 0
    images = images if kind == "uint8" else images.float() / 255
    moved = 0
    for x, _, m in batches(images, masks=masks, augment=augment.papers_recipe).epoch(20):
        assert m.dtype == torch.bool and torch.equal(m, x > 0)
        moved += len(m)
    assert moved == 40


def test_all_of_an_outlier_is_anomalous():
    masks = torch.zeros(100, 1, 28, 28, dtype=torch.bool)
    masks[:, :, 3, 3] = True
    for x, _, m in batches(numbered(100), masks=masks, exposure=black).epoch(50):
        outlier = x[:, 0, 0, 0] == 0
        assert m[outlier].all() and (m[~outlier].sum((1, 2, 3)) == 1).all()


def test_an_outlier_may_know_where_it_is_anomalous():
    def half_black(x, _):
        where = torch.zeros(len(x), 1, 28, 28, dtype=torch.bool)
        where[..., :14] = True
        return torch.where(where, 0, x).to(x.dtype), where

    masks = torch.zeros(100, 1, 28, 28, dtype=torch.bool)
    for x, y, m in batches(numbered(100), masks=masks, exposure=half_black).epoch(50):
        assert torch.equal(m, x == 0) and torch.equal(m.flatten(1).any(1), y < 0) and m.any()


def test_batches_come_from_the_generator_alone():
    def sums(seed):
        source = batches(numbered(30), generator=generator(seed), exposure=black, augment=augment.papers_recipe)
        return torch.cat([x.flatten() for _ in range(2) for x, _, _ in source.epoch(8)])

    state = torch.get_rng_state()
    assert torch.equal(sums(1), sums(1)) and not torch.equal(sums(1), sums(2))
    assert torch.equal(state, torch.get_rng_state())


# ---- schedules ----


@pytest.mark.parametrize("options, text", [
    ({"optimizer": "lion"}, "unknown optimizer 'lion'; known: adam, sgd"),
    ({"epochs": 0}, "epochs >= 1, batch_size >= 2 and learning_rate > 0, got 0, 8 and 0.1"),
    ({"batch_size": 1}, "got 1, 1 and 0.1"),
    ({"learning_rate": 0}, "got 1, 8 and 0"),
])  # fmt: skip
def test_schedule_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        training.Schedule(**({"epochs": 1, "batch_size": 8, "learning_rate": 0.1} | options))


def test_learning_rate_decays_by_epoch_and_at_milestones():
    schedule = training.Schedule(6, 8, 0.5, "sgd", decay=0.9, milestones=(2, 4))
    optimizer, decay = schedule.make(nn.Linear(1, 1))
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        decay.step()
    assert rates == pytest.approx([0.5 * 0.9**k * 0.1 ** ((k >= 2) + (k >= 4)) for k in range(6)])
    assert optimizer.param_groups[0]["nesterov"] and optimizer.param_groups[0]["momentum"] == 0.9


def test_frozen_weights_stay():
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.Linear(4, 2))
    network[1].requires_grad_(False)
    before = [p.detach().clone() for p in network.parameters()]
    training.train(network, lambda z, y, m: (z**2).sum(1), batches(numbered(8)), training.Schedule(1, 4, 0.1))
    changed = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert changed == [False, False, True, True]


# ---- the loop ----


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 3), nn.BatchNorm1d(3))


def test_training_minimises_and_tells_the_loss_of_every_epoch():
    network = linear()
    history = training.train(network, lambda z, y, m: objectives.hypersphere(z, y), batches(numbered(64)),
                             training.Schedule(15, 16, 0.05))  # fmt: skip
    assert len(history) == 15 and history[-1] < history[0] / 2
    assert not network.training


def test_layers_that_draw_leave_the_global_random_state_alone():
    """Dropout draws from the global generator: there is one of the seed's while training lasts."""
    schedule, histories = training.Schedule(2, 16, 1e-3), []
    for seed in (1, 2):
        network = nn.Sequential(nn.Dropout(0.5), *linear())
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        history = training.train(network, lambda z, y, m: objectives.hypersphere(z, y), batches(numbered(64)), schedule)
        histories.append(history)
        assert torch.equal(torch.get_rng_state(), before), "training moved the global random state"
    assert histories[0] == histories[1]


def test_history_is_the_mean_loss():
    source = batches(numbered(8), torch.arange(8) % 2)
    history = training.train(linear(), lambda z, y, m: y.float() + 0 * z.sum(1), source, training.Schedule(2, 4, 0.1))
    assert history == [0.5, 0.5]


def test_the_anomaly_term_survives_an_evaluation_in_between():
    """The official code drops it silently after an evaluation that forgets to return to training mode."""

    def fit(hook):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
        y = torch.where(torch.arange(40) % 2 == 0, 1, -1)
        source = batches(numbered(40), y, prepare=augment.as_float)
        return training.train(network, lambda z, y, m: objectives.hypersphere(z, y), source,
                              training.Schedule(3, 8, 0.01), after_batch=lambda epoch, z: hook(network))  # fmt: skip

    assert fit(lambda network: network.eval()) == fit(lambda network: None)


def test_a_network_that_comes_in_evaluation_mode_is_trained_in_training_mode():
    def fit(mode):
        network = linear().train(mode)
        training.train(network, lambda z, y, m: (z**2).sum(1), batches(numbered(16)), training.Schedule(2, 8, 0.01))
        return network.state_dict()

    first, second = fit(True), fit(False)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_after_batch_sees_every_step():
    seen = []
    training.train(linear(), lambda z, y, m: (z**2).sum(1), batches(numbered(20)), training.Schedule(3, 8, 0.01),
                   after_batch=lambda epoch, z: seen.append((epoch, len(z), z.requires_grad)))  # fmt: skip
    assert seen == [(epoch, size, False) for epoch in range(3) for size in (8, 8, 4)]


def test_a_loss_that_explodes_names_epoch_and_batch():
    told = (
        "the loss became nan in batch 1 of epoch 1; nothing is kept without a checkpoint; try a smaller learning_rate"
    )
    with pytest.raises(FloatingPointError, match=told):
        training.train(linear(), lambda z, y, m: z.sum(1) / 0 * 0, batches(numbered(8)), training.Schedule(2, 4, 0.1))
    steps = []

    def later(z, y, m):
        steps.append(len(z))
        return z.sum(1) * (torch.inf if len(steps) == 9 else 1)

    with pytest.raises(FloatingPointError, match="became (inf|-inf|nan) in batch 3 of epoch 2"):
        training.train(linear(), later, batches(numbered(24)), training.Schedule(5, 4, 1e-3))
    assert len(steps) == 12  # the epoch ends first: the device is asked once


def test_weights_that_the_last_batch_of_an_epoch_spoils():
    """The loss of that batch is still finite: without a look at the weights a checkpoint would keep them."""
    network, steps = linear(), []

    def spoil(epoch, outputs):
        steps.append(epoch)
        if len(steps) == 4:
            network[1].weight.data[0, 0] = torch.nan

    with pytest.raises(
        FloatingPointError, match="a weight became infinite or nan in batch 2, the last one, of epoch 2"
    ):
        training.train(network, lambda z, y, m: z.square().sum(1), batches(numbered(8)), training.Schedule(3, 4, 1e-3),
                       after_batch=spoil)  # fmt: skip


def test_forward_in_batches_equals_forward_at_once():
    network = linear()
    images = numbered(70)
    whole = network.eval()(unchanged(images))
    network.train()
    parts = training.forward(network, images, unchanged, "cpu", batch_size=32)
    torch.testing.assert_close(parts, whole)
    assert not network.training and not parts.requires_grad
    summed = training.forward(network, images, unchanged, "cpu", head=lambda z: z.sum(1), batch_size=32)
    torch.testing.assert_close(summed, whole.sum(1))


def test_device():
    assert training.pick_device("cpu") == torch.device("cpu")
    assert training.pick_device("auto").type in ("cuda", "mps", "cpu")
    with pytest.raises(ValueError, match="device 'abacus' cannot be used here .*; expected auto, cpu, cuda or mps"):
        training.pick_device("abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there():
    with pytest.raises(ValueError, match="device 'cuda' cannot be used here"):
        training.pick_device("cuda")
