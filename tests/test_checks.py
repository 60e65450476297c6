"""What may come in, and that every refusal says what was expected, what came and how to mend it."""

import numpy as np
import pytest
import torch

from fcdd.checks import as_images, as_labels, as_masks

GOOD = np.random.default_rng(0).integers(0, 256, (4, 1, 28, 28), dtype=np.uint8)


@pytest.mark.parametrize("X", [GOOD, torch.from_numpy(GOOD), GOOD[:, :, ::-1], GOOD.astype(np.float64) / 255,
                               (GOOD / 255).astype(np.float16), GOOD.repeat(3, 1)])  # fmt: skip
def test_images_come_through(X):
    tensor = as_images(X)
    assert tensor.shape == X.shape
    assert tensor.dtype == (torch.uint8 if X.dtype in (np.uint8, torch.uint8) else torch.float32)
    np.testing.assert_array_equal(np.asarray(tensor), np.asarray(X, np.asarray(tensor).dtype))


@pytest.mark.filterwarnings("error")
def test_read_only_arrays_come_through_without_a_warning():
    X = GOOD.copy()
    X.setflags(write=False)
    assert as_images(X).shape == X.shape


def broken(value):
    X = GOOD.astype(np.float32) / 255
    X[1:3, 0, 5, 5] = value
    return X


@pytest.mark.parametrize("X, text", [
    (GOOD[:, 0], r"shape \(N, C, H, W\).*got \(4, 28, 28\); add the channel axis, X\[:, None\]"),
    (GOOD[0, 0], r"shape \(N, C, H, W\).*got \(28, 28\)"),
    (GOOD.repeat(2, 1), r"C = 1 \(grey\) or 3 \(RGB\), got \(4, 2, 28, 28\)"),
    (GOOD[:0], r"N ≥ 1.*got \(0, 1, 28, 28\)"),
    (GOOD.astype(np.int64), r"uint8 or float in \[0, 1\], got torch.int64; convert with .astype\('uint8'\)"),
    (GOOD > 9, r"uint8 or float in \[0, 1\], got torch.bool"),
    (broken(np.nan), "finite X, found NaN or infinity in 2 images, first at index 1"),
    (broken(-np.inf), "finite X, found NaN or infinity in 2 images, first at index 1"),
    (broken(1.5), r"float X in \[0, 1\], got values from 0 to 1.5; divide by 255 or pass uint8"),
    (broken(-0.5), r"float X in \[0, 1\], got values from -0.5 to 1; divide by 255"),
    (GOOD.tolist(), "X to be an array or tensor of numbers, got list"),
    ("images/", "X to be an array or tensor of numbers, got str"),
    (np.array([["a"]]), "X to be an array or tensor of numbers, got ndarray"),
    (None, "X to be an array or tensor of numbers, got NoneType"),
])  # fmt: skip
def test_images_refused(X, text):
    with pytest.raises(ValueError, match=text):
        as_images(X)


@pytest.mark.parametrize("channels, size, text", [
    (3, (28, 28), r"like the images of fit, 3 channels of \(28, 28\) px, got 1 of \(28, 28\)"),
    (1, (32, 32), r"like the images of fit, 1 channels of \(32, 32\) px, got 1 of \(28, 28\)"),
])  # fmt: skip
def test_images_unlike_those_of_fit(channels, size, text):
    with pytest.raises(ValueError, match=text):
        as_images(GOOD, channels=channels, size=size)
    assert as_images(GOOD, channels=1, size=(28, 28)) is not None


@pytest.mark.parametrize("y", [[1, 0, -1], np.array([1.0, 0.0, -1.0]), torch.tensor([1, 0, -1]), np.int8([1, 0, -1])])
def test_labels_come_through(y):
    labels = as_labels(y, 3)
    assert labels.dtype == torch.int64 and labels.tolist() == [1, 0, -1]


def test_no_labels_means_unlabelled():
    assert as_labels(None, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("y, text", [
    ([1, 1], r"one label for each of the 3 images, got y of shape \(2,\)"),
    ([[1], [1], [1]], r"one label for each of the 3 images, got y of shape \(3, 1\)"),
    ([1, 2, 7], r"labels \+1 \(nominal\), 0 \(unlabelled\) or -1 \(anomalous\), got \[2, 7\]"),
    ([0.5, 1, 0], r"or -1 \(anomalous\), got \[0.5\]"),
    ([np.nan, 1, 0], r"or -1 \(anomalous\), got \[nan\]"),
    ([True, False, True], "or -1 .anomalous., got True/False"),
    ([-1, -1, -1], r"at least one nominal \(\+1\) or unlabelled \(0\) image, got 3 anomalous ones"),
    (["good", "good", "bad"], r"labels \+1 \(nominal\)"),
    ([None, 1, 1], r"labels \+1 \(nominal\)"),
])  # fmt: skip
def test_labels_refused(y, text):
    with pytest.raises(ValueError, match=text):
        as_labels(y, 3)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
@pytest.mark.parametrize("axes", [3, 4])
def test_masks_come_through(dtype, axes):
    masks = (GOOD > 128).astype(dtype)
    masks = masks if axes == 4 else masks[:, 0]
    out = as_masks(masks, torch.from_numpy(GOOD))
    assert out.dtype == torch.bool and np.array_equal(out.numpy(), GOOD > 128)
    assert torch.equal(as_masks(torch.from_numpy(masks), torch.from_numpy(GOOD)), out)


def test_no_masks():
    assert as_masks(None, torch.from_numpy(GOOD)) is None


@pytest.mark.parametrize("shape", [(3, 1, 28, 28), (4, 1, 14, 14), (4, 3, 28, 28), (28, 28)])
def test_masks_refused(shape):
    with pytest.raises(ValueError, match=r"masks of shape \(4, 1, 28, 28\), one for each image and of its size, got"):
        as_masks(np.zeros(shape), torch.from_numpy(GOOD))
