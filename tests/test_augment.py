"""Augmentation against loops over images with the same draws, and normalisation from nominal images only."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fcdd import augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, channels=3, size=28, seed=0):
    return torch.randint(0, 256, (n, channels, size, size), generator=generator(seed), dtype=torch.uint8)


def crop_loop(x, padding, draws):
    top, left = torch.randint(2 * padding + 1, (len(x), 2), generator=draws).T
    out = torch.zeros_like(x)
    height, width = x.shape[2:]
    for i in range(len(x)):
        for row in range(height):
            for column in range(width):
                r, c = row + int(top[i]) - padding, column + int(left[i]) - padding
                if 0 <= r < height and 0 <= c < width:
                    out[i, :, row, column] = x[i, :, r, c]
    return out


@pytest.mark.parametrize("shape, padding", [((5, 3, 10, 14), 2), ((3, 1, 9, 9), 4), ((2, 1, 5, 5), 0)])
def test_random_crop_equals_the_loop(shape, padding):
    x = torch.randint(1, 256, shape, generator=generator(1), dtype=torch.uint8)
    for seed in range(5):
        expected = crop_loop(x, padding, generator(seed))
        assert torch.equal(augment.random_crop(x, padding, generator(seed)), expected)


def test_random_flip_equals_the_loop():
    x = images(40, size=7)
    draws = torch.rand(40, 1, 1, 1, generator=generator(3)).flatten() < 0.5
    expected = torch.stack([image.flip(-1) if flip else image for image, flip in zip(x, draws, strict=True)])
    assert torch.equal(augment.random_flip(x, generator(3)), expected)
    assert 5 < draws.sum() < 35


@pytest.mark.parametrize("size, padding", [(28, 2), (32, 4)])
def test_grey_images_are_cropped_and_flipped_as_in_the_papers(size, padding):
    x = images(8, channels=1, size=size)
    draws = generator(5)
    cropped = crop_loop(x, padding, draws)
    expected = augment.random_flip(cropped, draws)
    moved, masks = augment.papers_recipe(x, None, generator(5))
    assert torch.equal(moved, expected) and masks is None


def test_colour_images_are_jittered_and_noisy_and_masks_are_not():
    x = torch.rand(64, 3, 32, 32, generator=generator())
    masks = x[:, :1] > 0.5
    moved, moved_masks = augment.papers_recipe(x, masks, generator(2))
    same, _ = augment.papers_recipe(x, masks, generator(2))
    assert torch.equal(moved, same) and moved_masks.dtype == torch.bool
    # The red channel is bright where its mask says so, but for the jitter and the noise near one half.
    clear = (moved[:, :1] - 0.5).abs() > 0.05
    assert torch.equal((moved[:, :1] > 0.5)[clear], moved_masks[clear])
    assert not torch.equal(moved_masks, masks)


@pytest.mark.parametrize("channels, masked", [(1, False), (1, True), (3, False), (3, True)])
def test_parts_of_a_batch_with_their_own_generators_are_as_alone(channels, masked):
    x = [images(7, channels, seed=k) for k in range(3)]
    masks = [m[:, :1] > 100 for m in x]
    alone = [augment.papers_recipe(x[k], masks[k] if masked else None, generator(k)) for k in range(3)]
    together = augment.papers_recipe(
        torch.cat(x), torch.cat(masks) if masked else None, [generator(k) for k in range(3)]
    )
    torch.testing.assert_close(together[0], torch.cat([moved for moved, _ in alone]), rtol=0, atol=1e-6)
    assert together[1] is None if not masked else torch.equal(together[1], torch.cat([m for _, m in alone]))


# ---- colour ----


def grid_of_colours():
    levels = torch.linspace(0.2, 0.8, 8)
    return torch.stack(torch.meshgrid(levels, levels, levels, indexing="ij")).reshape(1, 3, 16, 32)


def test_jitter_stays_near_and_differs_by_image():
    x = grid_of_colours().expand(50, -1, -1, -1)
    jittered = augment.color_jitter(x, 0.01, generator(1))
    assert 0 < (jittered - x).abs().max() < 0.06  # of strength .01: four changes of about .01 each
    assert len(torch.unique(jittered[:, 0, 3, 7])) == 50
    assert torch.equal(augment.color_jitter(x, 0.0, generator(1)).round(decimals=5), x.round(decimals=5))


def test_jitter_is_that_of_torchvision_but_for_the_place_of_the_hue(monkeypatch):
    """One image after another, with torchvision's functions; its hue is an angle of HSV, so only brightness, contrast
    and saturation can be equal."""
    from torchvision.transforms.v2 import functional

    x = torch.rand(20, 3, 9, 9, generator=generator(3))
    draws = torch.rand(20, 4, generator=generator(4))
    draws[:, 3] = 0.5  # no turn
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: draws)
    jittered = augment.color_jitter(x, 0.3, generator(4))
    for image, factors, got in zip(x, (0.7 + 0.6 * draws[:, :3]).tolist(), jittered, strict=True):
        for change, factor in zip(("brightness", "contrast", "saturation"), factors, strict=True):
            image = getattr(functional, f"adjust_{change}")(image, factor)
        torch.testing.assert_close(got, image, rtol=0, atol=2e-4)  # the weights of luminance have three digits


def test_jitter_equals_its_four_steps():
    """Brightness, contrast, saturation, hue, one after the other."""
    x, strength = torch.rand(7, 3, 12, 10, generator=generator()), 0.2
    factors = 1 + strength * (2 * torch.rand(7, 4, generator=generator(9)).T.reshape(4, 7, 1, 1, 1) - 1)
    plain = (x * factors[0]).clamp(0, 1)
    mean = augment.luminance(plain).mean((1, 2, 3), keepdim=True)
    plain = (mean + factors[1] * (plain - mean)).clamp(0, 1)
    grey = augment.luminance(plain)
    plain = augment.turn_hue(grey + factors[2] * (plain - grey), (factors[3] - 1)[:, 0, 0]).clamp(0, 1)
    before = x.clone()
    torch.testing.assert_close(augment.color_jitter(x, strength, generator(9)), plain, atol=1e-5, rtol=0)
    assert torch.equal(x, before)


def test_hue_turns_about_the_grey_axis():
    """A third of a turn sends red to green, green to blue, blue to red; grey stays."""
    pure = torch.zeros(4, 3, 1, 1)
    pure[range(3), range(3)] = 1
    pure[3] = 0.5
    turned = augment.turn_hue(pure, torch.full((4, 1), 1 / 3))
    expected = torch.cat([pure[[1, 2, 0]], pure[3:]])
    torch.testing.assert_close(turned, expected, atol=1e-6, rtol=0)


def test_grey_images_keep_their_hue():
    x = torch.rand(10, 1, 8, 8, generator=generator())
    jittered = augment.color_jitter(x, 0.2, generator())
    order = x.flatten(1).argsort(1)
    assert (jittered.flatten(1).gather(1, order).diff(dim=1) >= 0).all()  # brightness and contrast keep the order


def test_luminance():
    colours = torch.eye(3)[:, :, None, None]
    assert augment.luminance(colours).flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    grey = torch.rand(2, 1, 3, 3)
    assert augment.luminance(grey) is grey


def test_all_places_are_drawn():
    x = torch.zeros(4000, 1, 5, 5)
    x[:, :, 2, 2] = 1
    places = augment.random_crop(x, 2, generator()).flatten(1).argmax(1)
    counts = torch.bincount(places, minlength=25)
    assert (counts > 4000 / 25 / 2).all() and counts.sum() == 4000


# ---- photographed parts ----


def squares(n=60, size=30):
    """Grey images with one bright square each, and its mask."""
    x = torch.full((n, 3, size, size), 60, dtype=torch.uint8)
    x[:, :, 4:12, 5:15] = 220
    return x, x[:, :1] > 100


@pytest.mark.parametrize("name", ["parts", "parts-any-way-up"])
def test_masks_move_with_parts(name):
    x, masks = squares()
    moved, moved_masks = augment.recipe(name)(x, masks, generator(1))
    bright = moved.mean(1, keepdim=True) > 0.55
    assert moved_masks.dtype == torch.bool and moved_masks.shape == masks.shape
    assert (bright == moved_masks).float().mean() > 0.98  # all but the blurred edge
    assert moved.min() >= 0 and moved.max() <= 1 and moved.dtype == torch.float32
    again, _ = augment.recipe(name)(x, masks, generator(1))
    assert torch.equal(moved, again)


def test_parts_without_masks_are_the_same_images():
    x, masks = squares(20)
    assert torch.equal(augment.parts_recipe(x, None, generator(2))[0], augment.parts_recipe(x, masks, generator(2))[0])
    assert augment.parts_recipe(x, None, generator(2))[1] is None


def test_parts_are_not_flipped_and_half_are_cropped():
    x, masks = squares(400)
    _, moved = augment.parts_recipe(x, masks, generator(3))
    rows, columns = moved.float().sum((1, 3)).argmax(1), moved.float().sum((1, 2)).argmax(1)
    assert rows.max() < 8 and columns.max() < 9  # the square stays in its corner
    assert 150 < (moved == masks).flatten(1).all(1).sum() < 250


def test_a_crop_is_enlarged_by_the_paper_s_factor(monkeypatch):
    monkeypatch.setattr(augment, "ZOOM", 0.5)
    x = torch.zeros(200, 1, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    area = augment.random_zoom(x, generator(4)).sum((1, 2, 3))
    assert {round(a / 16) for a in area.tolist()} >= {4, 16}  # 64 px, whole, or four times as many


def test_zoom_equals_the_plain_version():
    """All images through grid_sample, those that stay whole as well."""
    x = torch.rand(16, 3, 20, 30, generator=generator())
    drawn = generator(8)
    closer = torch.rand(16, generator=drawn) < 0.5
    zoom = torch.where(closer, augment.ZOOM, 1.0)
    shift = (2 * torch.rand(16, 2, generator=drawn) - 1) * (1 - zoom)[:, None]
    theta = torch.cat([zoom[:, None, None] * torch.eye(2), shift[:, :, None]], 2)
    grid = torch.nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    plain = torch.nn.functional.grid_sample(x, grid, align_corners=False, padding_mode="border")
    torch.testing.assert_close(augment.random_zoom(x, generator(8)), plain, atol=1e-5, rtol=0)


def test_batches_of_two_of_which_perhaps_none_is_zoomed_or_noisy():
    x, masks = squares(2)
    for seed in range(12):
        moved, kept = augment.parts_recipe(x, masks, generator(seed))
        assert moved.shape == x.shape and kept.shape == masks.shape and moved.isfinite().all()


def test_deviation_is_that_of_each_image():
    x = torch.rand(5, 3, 9, 8, generator=generator()) * torch.arange(5.0)[:, None, None, None]
    torch.testing.assert_close(augment.deviation(x), x.std((1, 2, 3), keepdim=True))


def test_turns_are_all_four_and_never_mirrored():
    x = torch.zeros(400, 1, 6, 6)
    x[:, 0, 0, :3], x[:, 0, 1, 0] = 1, 2  # an L: its mirror image is none of its turns
    turned = augment.random_turn(x, generator(5))
    kinds = [x[0].rot90(k, (1, 2)) for k in range(4)]
    counts = [(turned == kind).flatten(1).all(1).sum().item() for kind in kinds]
    assert sum(counts) == 400 and min(counts) > 60
    wide = augment.random_turn(torch.arange(12.0).reshape(1, 1, 3, 4).expand(50, -1, -1, -1), generator(6))
    assert set(wide[:, 0, 0, 0].tolist()) == {0, 11}


def test_parts_are_jittered_strongly_or_weakly_and_half_are_noisy(monkeypatch):
    monkeypatch.setattr(augment, "ZOOM", 1.0)
    x, _ = squares(600)
    moved, _ = augment.parts_recipe(x, None, generator(7))
    flat = moved[:, :, 20:, 20:]  # of one colour before
    noise = flat.std((2, 3)).mean(1)
    expected = 0.1 * augment.as_float(x[0]).std()
    assert 240 < (noise > expected / 2).sum() < 360
    assert noise[noise > expected / 2].mean() == pytest.approx(expected.item(), rel=0.1)
    change = (flat.mean((1, 2, 3)) - 60 / 255).abs()
    assert 0.25 < (change > 0.0025).float().mean() < 0.6 and change.max() < 0.03


def test_recipes_by_name():
    assert augment.recipe(True) is augment.papers_recipe is augment.recipe("papers")
    assert augment.recipe(False) is None
    with pytest.raises(ValueError, match="unknown augmentation 'part'; known: True, False, papers, parts"):
        augment.recipe("part")


# ---- local contrast normalisation ----


def test_lcn_equals_the_official_code(golden):
    torch.testing.assert_close(augment.lcn(golden["lcn/in"]), golden["lcn/out"], rtol=0, atol=1e-5)


@given(st.floats(-3, 3), st.floats(0.1, 20), st.integers(0, 50))
def test_lcn_does_not_see_shift_and_scale(shift, scale, seed):
    x = torch.rand(3, 3, 8, 8, generator=generator(seed))
    torch.testing.assert_close(augment.lcn(scale * x + shift), augment.lcn(x), rtol=1e-3, atol=1e-3)


def test_lcn_centres_and_scales_each_image():
    x = augment.lcn(torch.rand(5, 3, 8, 8, generator=generator()))
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(5), rtol=0, atol=1e-6)
    torch.testing.assert_close(x.abs().mean((1, 2, 3)), torch.ones(5))
    assert augment.lcn(torch.full((2, 1, 4, 4), 0.5)).abs().max() == 0  # blank, not NaN


# ---- normalisation ----


def test_as_float():
    x = images(2)
    assert torch.equal(augment.as_float(x), x.float() / 255)
    assert torch.equal(augment.as_float(x.double() / 255), (x.double() / 255).float())


def test_lcn_normalisation_spans_0_to_1_on_the_images_it_was_fitted_on():
    x = images(20)
    normalise = augment.fit_normalisation(x, "lcn")
    out = normalise(x)
    torch.testing.assert_close(out.amin((0, 2, 3)), torch.zeros(3))
    torch.testing.assert_close(out.amax((0, 2, 3)), torch.ones(3))
    strange = normalise(torch.eye(28, dtype=torch.uint8).expand(1, 3, 28, 28) * 255)
    assert strange.max() > 1  # what was never seen is not clipped


def test_standard_normalisation():
    x = images(50)
    out = augment.fit_normalisation(x, "standard")(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(3), rtol=1e-4, atol=0)


def test_unit_normalisation():
    x = images(3)
    assert torch.equal(augment.fit_normalisation(x, "unit")(x), x.float() / 255)


@pytest.mark.parametrize("kind", ["lcn", "standard", "unit"])
def test_parts_of_a_batch_are_normalised_by_their_own_constants(kind):
    x = [images(5, seed=k) // (k + 1) for k in range(3)]
    own = [augment.fit_normalisation(part, kind) for part in x]
    both = augment.Normalisation(own[0].contrast, *(torch.stack([n[i] for n in own]) for i in (1, 2)))
    expected = torch.cat([n(part) for n, part in zip(own, x, strict=True)])
    torch.testing.assert_close(both(torch.cat(x)), expected)


@pytest.mark.parametrize("kind", ["lcn", "standard", "unit"])
def test_a_blank_channel_divides_by_1(kind):
    x = images(4)
    x[:, 1] = 0
    x[:, :, 0, 0] = 0
    if kind == "lcn":
        x[:] = 7  # every image blank
    assert torch.isfinite(augment.fit_normalisation(x, kind)(x)).all()


def test_unknown_normalisation():
    with pytest.raises(ValueError, match="unknown normalisation 'gcn'; known: lcn, standard, unit"):
        augment.fit_normalisation(images(2), "gcn")
