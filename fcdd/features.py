r"""FCDD on frozen features, with noise on the features as outlier exposure: seconds instead of minutes of training.

A pretrained network runs once over the good images. Its features at each place, whitened, are what is nominal; the same
with Gaussian noise, its deviation drawn for each place, is what is anomalous; a head of 1×1 convolutions learns FCDD's
objective at each place, which is there that of the hypersphere classifier. The idea of noise on features is SimpleNet's
(Liu et al. 2023); there the features go through a layer that is learnt, the noise has one scale, and the loss is a
hinge. Here whitening (principal components) makes one unit of noise mean the same in every direction, scales are
log-uniform, the head also sees how long a feature is, and the objective is FCDD's, so that the output is its map.
Taught in: chapter 06.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from . import objectives
from .receptive import ReceptiveField, receptive_field

MOST = 2**18  # places that are kept for training: 134 MB
COPIES = 4  # of each image, if they are augmented; the first one unchanged
STEPS, PLACES = 30, 512  # steps of an epoch, nominal places of a step
NOISE = (0.5, 2.0)  # deviations, in those of whitened features


def at_places(network: nn.Module, x: Tensor) -> Tensor:
    """Features (n, u, v, d) of normalised images, without gradients."""
    with torch.no_grad():
        return network(x.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1).float()


def sample(forward: Callable, images, count: int, generator: Generator, batch_size: int) -> Tensor:
    """Features (k, d) at ``count`` random places of the images, equally many of each, or at all where they are fewer.

    ``forward`` gives the features (n, u, v, d) of a batch. About ``count`` of them lie in memory, whatever the number
    of images.
    """
    each, parts = -(-count // len(images)), []
    for start in range(0, len(images), batch_size):
        features = forward(images[start : start + batch_size]).flatten(1, 2)
        # Without replacement: the places with the smallest random numbers.
        places = torch.rand(features.shape[:2], generator=generator).argsort(1)[:, :each].to(features.device)
        parts.append(features.gather(1, places[..., None].expand(-1, -1, features.shape[2])).flatten(0, 1))
    features = torch.cat(parts)
    return features[torch.randperm(len(features), generator=generator)[:count].to(features.device)]


def whitening(features: Tensor, floor: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Weight (d, d) and bias (d,) that give features (k, d) mean 0 and, on their principal components, deviation 1.

    Variances below ``floor`` times the largest count as that much, so that no direction is blown up out of rounding.
    """
    features = features.cpu().double()
    mean = features.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov((features - mean).T))
    weight = (vectors / values.clamp(min=floor * float(values[-1])).sqrt()).T
    return weight.float(), -(weight @ mean).float()


@dataclass
class Places:
    """Endless source of training batches, as :class:`fcdd.training.Batches`, of whitened features.

    images (k, d): at nominal places; known (m, d): at places known to be anomalous. A batch is one map: nominal places,
    as many with noise, and a quarter as many known ones.
    """

    images: Tensor
    known: Tensor
    generator: Generator
    models: int = 1

    def epoch(self, batch_size: int) -> Iterator[tuple]:
        """Yields (x, y, masks): a map (1, d, places, 1), the labels of its places, and None; ``batch_size`` is of
        images, and has no part here."""
        for _ in range(STEPS):
            nominal = self._draw(self.images, PLACES)
            parts = [nominal, self._noisy(nominal)] + ([self._draw(self.known, PLACES // 4)] if len(self.known) else [])
            y = torch.cat([nominal.new_full((len(part),), -1 if k else 1) for k, part in enumerate(parts)])
            yield torch.cat(parts).T[None, :, :, None], y, None

    def _draw(self, of: Tensor, count: int) -> Tensor:
        return of[torch.randint(len(of), (count,), generator=self.generator, device=of.device)]

    def _noisy(self, places: Tensor) -> Tensor:
        low, high = NOISE
        scale = torch.rand(len(places), 1, generator=self.generator, device=places.device)
        noise = torch.randn(places.shape, generator=self.generator, device=places.device)
        return places + low * (high / low) ** scale * noise


def gather(network, prepare, images, labels, masks, *, seed: int, batch_size: int, augment=None, top=0.02) -> Places:
    """What a head learns from: features of the good images and, where some are labelled -1, at their defects.

    ``network`` is a sequence: frozen features, a 1×1 convolution, which is set here to whiten them, and the head. Of
    images labelled -1 a place is anomalous if a pixel of its cell is masked, and nominal if none within two cells is;
    without masks those ``top`` (a share) are anomalous that lie farthest from the mean of the good ones. With
    ``augment`` (one of :data:`fcdd.augment.RECIPES`) changed copies of each good image are learnt from, too.
    """
    trunk, whiten, _ = network
    device, drawn, copies = whiten.weight.device, Generator().manual_seed(seed), COPIES if augment else 1
    good = images if bool((labels >= 0).all()) else images[labels >= 0]

    def forward(x, change=None):
        return at_places(trunk, prepare((x if change is None else change(x, None, drawn)[0]).to(device)))

    kinds = [None] + [augment] * (copies - 1)
    nominal = [sample(partial(forward, change=c), good, MOST // copies, drawn, batch_size) for c in kinds]
    weight, bias = whitening(torch.cat(nominal))
    whiten.weight.data.copy_(weight[..., None, None])
    whiten.bias.data.copy_(bias)
    weight, bias = weight.to(device), bias.to(device)
    known = [nominal[0][:0]]
    places = (labels < 0).nonzero().flatten()
    for some in places.split(batch_size) if len(places) else ():
        maps = forward(images[some])
        if masks is None:
            where = farthest(F.linear(maps, weight, bias), top)
        else:
            where = under(masks[some], receptive_field(trunk), maps.shape[1:3]).to(device)
            # What is far from a defect is as good as the good images, and of the same camera and day as the defect.
            nominal.append(maps[F.max_pool2d(where[:, None].float(), 5, 1, 2)[:, 0] == 0])
        known.append(maps[where])
    white, anomalous = (F.linear(torch.cat(parts), weight, bias) for parts in (nominal, known))
    return Places(white, anomalous, Generator(device).manual_seed(seed))


def under(masks: Tensor, field: ReceptiveField, size: tuple[int, int]) -> Tensor:
    """(n, u, v) boolean: the places with a pixel of the masks (n, 1, H, W) in their cell of the grid."""
    start, step = int(field.offset), field.stride
    near = F.max_pool2d(masks.float(), step // 2 * 2 + 1, 1, step // 2)
    return near[:, 0, start::step, start::step][:, : size[0], : size[1]] > 0


def farthest(white: Tensor, top: float) -> Tensor:
    """(n, u, v) boolean: the share ``top`` of the places of each image with the longest features (n, u, v, d)."""
    length = white.norm(dim=3)
    least = length.flatten(1).topk(max(1, round(top * length[0].numel())), 1).values[:, -1]
    return length >= least[:, None, None]


def loss(outputs: Tensor, y: Tensor, masks=None) -> Tensor:
    """FCDD's objective at each place of the one map of a batch, (p,)."""
    return objectives.fcdd(outputs.flatten()[:, None, None, None], y)


def highest(maps: Tensor, top: float | None) -> Tensor:
    """(N,) scores of images from maps (N, 1, u, v): the mean of the share ``top`` with the highest values, at least
    one; None: of all, as in the paper."""
    values = maps.flatten(1)
    return values.mean(1) if top is None else values.topk(max(1, round(top * values.shape[1])), 1).values.mean(1)
