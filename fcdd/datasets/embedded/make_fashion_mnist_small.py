"""Makes the subset of Fashion-MNIST inside the package: the first 1,000 training and 200 test images of every class.

Run it with the official files at hand (see fcdd.datasets.load): python scripts/make_fashion_mnist_small.py
It prints the sha256 that fcdd/datasets/idx.py holds; the same files give the same bytes.
"""

import hashlib

import numpy as np

from fcdd.datasets.idx import EMBEDDED, read_family

official, source = read_family("fashion-mnist")
arrays = {}
for part, count in (("train", 1000), ("test", 200)):
    labels = official[f"{part}_labels"].numpy()
    first = np.sort(np.concatenate([np.flatnonzero(labels == k)[:count] for k in range(10)]))
    arrays[f"{part}_images"] = official[f"{part}_images"].numpy()[first]
    arrays[f"{part}_labels"] = labels[first].astype(np.uint8)
np.savez_compressed(EMBEDDED, **arrays)
print(f"{EMBEDDED.name}: {EMBEDDED.stat().st_size:,} bytes from {source}")
print("sha256", hashlib.sha256(EMBEDDED.read_bytes()).hexdigest())
