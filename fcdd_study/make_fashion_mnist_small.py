"""Makes the subset of Fashion-MNIST inside the package: the first 1,000 training and 200 test images of every class.

Run it where the official files are found: python -m fcdd_study.make_fashion_mnist_small
It prints the sha256 that fcdd/datasets/registry.yml holds; the same files give the same bytes.
"""

import hashlib

import numpy as np

from fcdd import datasets
from fcdd.datasets import fetch, idx


def main() -> None:
    """Writes the file, and prints its checksum."""
    entry, arrays = datasets.REGISTRY["fashion-mnist"], {}
    _, official = entry.read(fetch.locate("fashion-mnist", entry))
    for part, count in (("train", 1000), ("test", 200)):
        labels = official[f"{part}_labels"].numpy()
        first = np.sort(np.concatenate([np.flatnonzero(labels == k)[:count] for k in range(10)]))
        arrays[f"{part}_images"] = official[f"{part}_images"].numpy()[first]
        arrays[f"{part}_labels"] = labels[first].astype(np.uint8)
    np.savez_compressed(idx.EMBEDDED, **arrays)
    print(f"{idx.EMBEDDED}: sha256 {hashlib.sha256(idx.EMBEDDED.read_bytes()).hexdigest()}")


if __name__ == "__main__":  # what looks at each module imports this one, too
    main()
