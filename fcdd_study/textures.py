"""Real textures with drawn defects: localisation without a download.

scikit-image's photographs of brick, grass and gravel (512×512, grey; CC0) are each cut into a left part for training
and a right part for testing. Test windows get one of six defects, drawn with exact masks; a third of them are small
or faint. Taught in: chapter 06.
"""

import numpy as np
import torch
from scipy import ndimage

from fcdd.datasets.fetch import Entry
from fcdd.datasets.split import Images, Split

TEXTURES = ("brick", "grass", "gravel")
SEAM = 288  # columns left of it train, columns right of it test: 288 and 224 wide


def textures(normal: str, *, size=128, seed=0, train=200, test_good=30, test_each=10, channels=1) -> Split:
    """Windows of one photograph: ``train`` good ones, ``test_good`` good ones, ``test_each`` of every defect.

    ``normal`` is one of :data:`TEXTURES`; ``size`` the side of a window in px, at most 224; ``seed`` draws windows and
    defects. Images are (N, channels, size, size) uint8, grey (channels 1) or grey repeated (3); masks are True where a
    test image differs from the clean window. Names are like "scratch/003". Raises ValueError for other textures,
    sizes or channels.
    """
    if normal not in TEXTURES:
        raise ValueError(f"unknown texture {normal!r}; known: {', '.join(TEXTURES)}")
    if not 16 <= size <= 512 - SEAM or channels not in (1, 3):
        wanted = f"expected windows of 16 to {512 - SEAM} px with 1 or 3 channels"
        raise ValueError(f"{wanted}, got {size} px, {channels} channels")
    from skimage import data  # here, because scikit-image takes a while to import

    photograph, rng = getattr(data, normal)(), np.random.default_rng([seed, TEXTURES.index(normal)])
    good = _windows(photograph[:, :SEAM], size, train, rng)
    kinds = ["good"] * test_good + [kind for kind in DEFECTS for _ in range(test_each)]
    clean = _windows(photograph[:, SEAM:], size, len(kinds), rng)
    pairs = zip(clean, kinds, strict=True)
    damaged = np.stack([image if kind == "good" else damage(image, kind, rng) for image, kind in pairs])
    anomalous = np.array(kinds) != "good"
    names = np.array([f"{kind}/{kinds[:i].count(kind):03}" for i, kind in enumerate(kinds)])
    masks = torch.from_numpy(damaged != clean)[:, None]

    def stack(images):
        return torch.from_numpy(images)[:, None].repeat(1, channels, 1, 1)

    nominal = Images(stack(good), torch.zeros(train, dtype=torch.int64), np.zeros(train, bool), np.full(train, "good"))
    test = Images(stack(damaged), torch.from_numpy(np.where(anomalous, -1, 1)), anomalous, names, masks)
    return Split(f"textures/{normal}", "good", nominal, test, "scikit-image's photographs, defects drawn")


def _windows(region, size, count, rng) -> np.ndarray:
    """``count`` square windows at random places, (count, size, size)."""
    windows = np.lib.stride_tricks.sliding_window_view(region, (size, size))
    return windows[rng.integers(windows.shape[0], size=count), rng.integers(windows.shape[1], size=count)]


def damage(image: np.ndarray, kind: str, rng: np.random.Generator, center=None) -> np.ndarray:
    """The image (H, W) or (H, W, 3) uint8 with one defect of the given kind: a key of :data:`DEFECTS`.

    It lies around ``center`` (row, column), anywhere if None; its pixels are those where the result differs from
    ``image``, at least twelve. Raises ValueError for an unknown kind, RuntimeError if nothing can be seen of it.
    """
    if kind not in DEFECTS:
        raise ValueError(f"unknown defect {kind!r}; known: {', '.join(DEFECTS)}")
    plain = image.reshape(*image.shape[:2], -1).astype(np.float64)
    for _ in range(50):
        place = center if center is not None else rng.uniform(0.1, 0.9, 2) * image.shape[:2]
        cover, target = DEFECTS[kind](plain, place, min(image.shape[:2]), rng)
        cover = np.clip(cover, 0, 1)[..., None]
        result = (plain + cover * (target - plain)).round().clip(0, 255).astype(np.uint8).reshape(image.shape)
        if (result != image).reshape(*image.shape[:2], -1).any(-1).sum() >= 12:
            return result
    raise RuntimeError(f"a {kind} cannot be seen on this image")


def _distance(shape, points) -> np.ndarray:
    """(H, W) distance in px to the nearest of ``points`` (k, 2); those outside the image do not count."""
    free = np.ones(shape, bool)
    points = points.round().astype(int)
    rows, columns = points[((points >= 0) & (points < shape)).all(1)].T
    free[rows, columns] = False
    return ndimage.distance_transform_edt(free) if len(rows) else np.full(shape, np.inf)


def _curve(center, length, bend, rng) -> np.ndarray:
    """Points along an arc through ``center``, two a pixel; ``bend`` is its height in lengths."""
    t, angle = np.linspace(-0.5, 0.5, max(4, int(2 * length)))[:, None], rng.uniform(0, 2 * np.pi)
    along = np.array([np.sin(angle), np.cos(angle)])
    return np.asarray(center) + length * (t * along + bend * (4 * t**2 - 1) * along[::-1] * (1, -1))


def _blob(shape, center, radius, rng) -> np.ndarray:
    """(H, W) how far inside a wobbly, stretched disc each pixel lies, in px; negative outside."""
    rows, columns = (np.indices(shape) - np.reshape(center, (2, 1, 1))) * np.exp(rng.uniform(-0.3, 0.3, (2, 1, 1)))
    angle, edge = np.arctan2(rows, columns), 1.0
    for waves in range(2, 7):
        edge = edge + rng.normal(0, 0.25 / waves) * np.cos(waves * angle + rng.uniform(0, 2 * np.pi))
    return radius * edge - np.hypot(rows, columns)


def _scratch(image, center, size, rng):
    """A straight or slightly bent line, lighter or darker than the ground by 10 to 100 grey levels."""
    line = _curve(center, size * rng.uniform(0.15, 0.8), rng.uniform(-0.1, 0.1), rng)
    strength = np.exp(rng.uniform(np.log(10), np.log(100))) * rng.choice([-1, 1], p=[0.3, 0.7])
    return size * rng.uniform(0.004, 0.014) + 0.8 - _distance(image.shape[:2], line), image + strength


def _hole(image, center, size, rng):
    """A dark disc, darker still towards its upper left edge."""
    radius = size * np.exp(rng.uniform(np.log(0.02), np.log(0.12)))
    depth = _blob(image.shape[:2], center, radius, rng)
    shade = 0.1 + 0.25 * (np.indices(image.shape[:2]) - np.reshape(center, (2, 1, 1))).sum(0) / (4 * radius)
    return depth + 0.5, image.mean() * np.clip(shade + rng.uniform(0, 0.25), 0, 1)[..., None]


def _stain(image, center, size, rng):
    """A blot that takes 6 to 50 % of the light, with a soft edge."""
    radius = size * np.exp(rng.uniform(np.log(0.05), np.log(0.2)))
    soft = size * rng.uniform(0.01, 0.05)
    return _blob(image.shape[:2], center, radius, rng) / soft, image * (1 - np.exp(rng.uniform(-2.8, -0.7)))


def _crack(image, center, size, rng):
    """A dark line that wanders and branches."""
    steps, points = int(size * rng.uniform(0.3, 0.9)), []
    heading = rng.uniform(0, 2 * np.pi)
    start = np.asarray(center, float) - 0.5 * steps * np.array([np.sin(heading), np.cos(heading)])
    for length in (steps, *rng.integers(steps // 6 + 1, steps // 2 + 2, rng.integers(0, 3))):
        turns = heading + np.cumsum(rng.normal(0, 0.25, 2 * length))
        path = start + np.cumsum(0.5 * np.stack([np.sin(turns), np.cos(turns)], 1), 0)
        points.append(path)
        start, heading = path[rng.integers(len(path))], heading + rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
    near = _distance(image.shape[:2], np.concatenate(points))
    return size * rng.uniform(0.002, 0.008) + 0.9 - near, image * rng.uniform(0.15, 0.75)


def _fibre(image, center, size, rng):
    """A curled thread lying on top, light or dark, with a shadow to its lower right."""
    line = _curve(center, size * rng.uniform(0.2, 0.6), rng.uniform(-0.5, 0.5), rng)
    width = size * rng.uniform(0.004, 0.012) + 0.7
    thread, shadow = width - _distance(image.shape[:2], line), width - _distance(image.shape[:2], line + width)
    level = rng.choice([rng.uniform(20, 60), rng.uniform(190, 250)])
    return np.maximum(thread, 0.4 * np.clip(shadow, 0, 1)), np.where(thread[..., None] > 0, level, 0.5 * image)


def _missing(image, center, size, rng):
    """A patch where the texture is worn away: only its mean light is left."""
    depth = _blob(image.shape[:2], center, size * np.exp(rng.uniform(np.log(0.04), np.log(0.15))), rng)
    worn = ndimage.gaussian_filter(image, (size / 10, size / 10, 0))
    return (depth + 1) / 2, worn + rng.uniform(-15, 15) + rng.normal(0, 2, image.shape[:2])[..., None]


DEFECTS = {"scratch": _scratch, "hole": _hole, "stain": _stain, "crack": _crack, "fibre": _fibre, "missing": _missing}
ENTRIES = {"textures": Entry(TEXTURES, split=textures)}  # fcdd.datasets knows it by its entry point
