"""Ten classes as one stack of networks against one after another; on a GPU also Fashion-MNIST's whole table."""

from dataclasses import dataclass

import torch
from torch import Tensor

import fcdd
from fcdd import datasets, exposure, networks, training
from fcdd.many import fit_all

from .compare import Comparison, Fact, Limit, Measured, Options, timed
from .hardware import flops
from .images import name, one_class

BATCH, EPOCHS = 128, 2
PAPER_SEEDS, PAPER_EPOCHS = 5, 400  # FCDD on Fashion-MNIST
# Images of a class, on a CPU. Those of the wide network are fewer, because ratios do not depend on their number.
CASES = (
    ("FCDD", "fcdd_cnn28", 1_280),
    ("HSC", "hsc_cnn28", 1_280),
    ("DeepSVDD", "fmnist_lenet", 1_280),
    ("FCDD", "fcdd_cnn28_w", 256),
)


def comparisons(options: Options):
    cuda = options.device == "cuda"
    for detector, network, count in CASES:
        seeds = PAPER_SEEDS if cuda and network == "fcdd_cnn28" else 1
        models = Models(detector, network, seeds, 6_000 if cuda else count, options)
        yield Comparison(
            f"stacked-{network}",
            f"{detector}, {network}: {models}",
            lambda models=models: models.stacked(EPOCHS),
            {"one after another": lambda models=models: models.one_by_one(EPOCHS)},
            10.0 if seeds > 1 else 1.0,
            lambda peaks, _, models=models: models.limit(peaks, EPOCHS),
        )
    if cuda or options.quick:
        yield whole_table(options)


def whole_table(options: Options) -> Comparison:
    """The paper's table, of which a few epochs are measured and the rest taken to last as long."""
    network = "fcdd_cnn28" if options.quick else "fcdd_cnn28_w"
    models = Models("FCDD", network, PAPER_SEEDS, 6_000, options)

    def one_by_one() -> Measured:
        one = extrapolated(lambda epochs: models.one_by_one(epochs, 1))
        return Measured(one.seconds * len(models.images) * models.seeds, None)

    return Comparison(
        "fashion-mnist-table",
        f"FCDD, {network}: {models}, {PAPER_EPOCHS} epochs, extrapolated",
        lambda: extrapolated(models.stacked),
        {"one after another": one_by_one},
        None,
        lambda peaks, _: models.limit(peaks, PAPER_EPOCHS),
        lambda ours, _: [Fact("minutes for the table", ours / 60, 10.0)],
    )


def extrapolated(fit) -> Measured:
    """From the seconds of one epoch and of five to those of all epochs of the paper."""
    fit(1)  # what is prepared at the first time counts in neither
    one, five = fit(1).seconds, fit(5).seconds
    seconds = one + max(five - one, 0) / 4 * (PAPER_EPOCHS - 1)
    return Measured(seconds, seconds)


@dataclass
class Models:
    """One model for each class and seed."""

    detector: str
    network: str
    seeds: int
    count: int
    options: Options

    def __post_init__(self):
        quick = self.options.quick
        every = datasets.classes(name())[: 2 if quick else 10]
        self.images: list[Tensor] = [one_class(normal, quick, self.count)[1] for normal in every]
        self.outliers = exposure.photographs(1, (28, 28), count=100 if quick else 10_000)

    def __str__(self):
        return f"{len(self.images)} classes × {self.seeds} seed{'s' * (self.seeds > 1)}"

    def detectors(self, epochs: int) -> tuple[list, list]:
        """Unfitted detectors, and the images of each."""
        settings = {"network": self.network, "epochs": epochs, "batch_size": BATCH, "device": self.options.device}
        settings |= {"augmentation": True} | ({} if self.detector == "DeepSVDD" else {"exposure": self.outliers})
        kind = getattr(fcdd, self.detector)
        pairs = [(kind(seed=seed, **settings), images) for images in self.images for seed in range(self.seeds)]
        return tuple(map(list, zip(*pairs, strict=True)))

    def stacked(self, epochs: int) -> Measured:
        every, images = self.detectors(epochs)
        return timed(lambda: fit_all(every, images), self.options.device)

    def one_by_one(self, epochs: int, most: int | None = None) -> Measured:
        every, images = self.detectors(epochs)

        def fit():
            for one, own in list(zip(every, images, strict=True))[:most]:
                one.fit(own)

        return timed(fit, self.options.device)

    def limit(self, peaks, epochs: int) -> Limit:
        """The multiplications of training, without those of scoring for the threshold."""
        network = networks.build(self.network, 1)
        one = flops(lambda: network(torch.rand(BATCH, 1, 28, 28)).sum().backward()) / BATCH
        kind = "bfloat16" if training.mixed_precision(torch.device(self.options.device))._enabled else "float32"
        images = sum(map(len, self.images)) * self.seeds * epochs
        return Limit(one * images / peaks[kind], f"convolutions in {kind}")
