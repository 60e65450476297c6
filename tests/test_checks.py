"""What may come in, and that every refusal says what was expected, what came and how to mend it."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from fcdd import checks, pictures
from fcdd.checks import as_images, as_labels, as_masks, check_seed

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


FLOAT = GOOD.astype(np.float32) / 255
RGB = GOOD.repeat(3, 1)

# what comes, what is said, and what the line of code that is said must give (None: there is none)
ODD = {
    "no channel axis": (GOOD[:, 0], r"got \(4, 28, 28\); add the channel axis, (X\[:, None\])", GOOD),
    "one grey picture": (GOOD[0, 0], r"got \(28, 28\); one grey picture: (X\[None, None\])", GOOD[:1]),
    "one grey picture with its channel": (GOOD[0], r"one picture is a batch of one: (X\[None\])$", GOOD[:1]),
    "one colour picture": (RGB[0], r"one picture is a batch of one: (X\[None\]) \(or", RGB[:1]),
    "three grey pictures": (GOOD[:3, 0], r"\(or (X.reshape\(3, 1, 28, 28\)) if it is 3 grey ones\)", GOOD[:3]),
    "one colour picture, channels last": (RGB[0].transpose(1, 2, 0), r": (X\[..., :3\].transpose\(2, 0, 1\)\[None\])",
                                          RGB[:1]),
    "channels last": (RGB.transpose(0, 2, 3, 1), r"channels forward: (X.transpose\(0, 3, 1, 2\))", RGB),
    "grey, channels last": (GOOD.transpose(0, 2, 3, 1), r"channels forward: (X.transpose\(0, 3, 1, 2\))", GOOD),
    "a tensor, channels last": (torch.from_numpy(RGB).permute(0, 2, 3, 1), r"forward: (X.permute\(0, 3, 1, 2\))", RGB),
    "RGBA": (np.concatenate([RGB, GOOD], 1), r"got \(4, 4, 28, 28\); leave the 4th .*: (X\[:, :3\])", RGB),
    "RGBA, channels last": (np.concatenate([RGB, GOOD], 1).transpose(0, 2, 3, 1),
                            r"alpha: (X\[..., :3\].transpose\(0, 3, 1, 2\))", RGB),
    "two channels": (GOOD.repeat(2, 1), r"C = 1 \(grey\) or 3 \(RGB\), got \(4, 2, 28, 28\)$", None),
    "none": (GOOD[:0], r"N ≥ 1.*got \(0, 1, 28, 28\)", None),
    "a table": (np.zeros((4, 784)), r"got \(4, 784\)", None),
    "int64": (GOOD.astype(np.int64), r"got torch.int64; convert with (X.astype\('uint8'\))", GOOD),
    "an int64 tensor": (torch.from_numpy(GOOD).long(), r"convert with (X.to\(torch.uint8\))", GOOD),
    "uint16 of 8 bits": (GOOD.astype(np.uint16), r"uint8 .*; convert with (X.astype\('uint8'\))", GOOD),
    "uint16 of 12 bits": (GOOD.astype(np.uint16) * 16, r"that 12 bits hold: (X / 4095)", GOOD * (16 / 4095)),
    "uint16": (GOOD.astype(np.uint16) * 257, r"that 16 bits hold: (X / 65535)", FLOAT),
    "big-endian uint16": (GOOD.astype(">u2") * 257, r"that 16 bits hold: (X / 65535)", FLOAT),
    "int32 of 16 bits": (GOOD.astype(np.int32) * 257, r"(X / 65535)", FLOAT),
    "negative": (GOOD.astype(np.int16) - 9, r": (\(X - X.min\(\)\) / \(X.max\(\) - X.min\(\)\))", FLOAT),
    "0 and 1": ((GOOD > 9).astype(np.int32), r"make 1 white: (X.astype\('uint8'\) \* 255)", (GOOD > 9) * np.uint8(255)),
    "booleans": (GOOD > 9, r"torch.bool; make True white: (X.astype\('uint8'\) \* 255)", (GOOD > 9) * np.uint8(255)),
    "NaN": (broken(np.nan), "finite X, found NaN or infinity in 2 images, first at index 1", None),
    "infinity": (broken(-np.inf), "finite X, found NaN or infinity in 2 images, first at index 1", None),
    "float 0…255": (GOOD.astype(np.float32), r"from 0 to 255; divide by 255 or pass uint8: (X / 255)", FLOAT),
    "float 0…65535": (GOOD.astype(np.float64) * 257, r"divide by 65535: (X / 65535)", FLOAT),
    "float -1…1": (FLOAT * 2 - 1, r"values from -1 to 1; they seem to lie in \[-1, 1\]: (\(X \+ 1\) / 2)", FLOAT),
    "a little outside": (broken(1.02), r"cut off what resampling left outside: (X.clip\(0, 1\))", broken(1.0)),
    "normalised": ((FLOAT - 0.45) / 0.2, r"(\(X - X.min\(\)\) / \(X.max\(\) - X.min\(\)\))", FLOAT),
    "a list of arrays": (list(GOOD), r"an array or tensor of numbers, got list; stack them: (np.stack\(X\))", GOOD),
    "a list of numbers": (GOOD.tolist(), "X to be an array or tensor of numbers, got list$", None),
    "strings": (np.array([["a"]]), "X to be an array or tensor of numbers, got ndarray", None),
    "complex numbers": (GOOD + 1j, "X to be an array or tensor of numbers, got ndarray", None),
    "None": (None, "X to be an array or tensor of numbers, got NoneType", None),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_images_refused_with_the_line_that_mends_them(name):
    """The line is executed: what it gives comes through, and is what was meant."""
    X, text, meant = ODD[name]
    with pytest.raises(ValueError, match=text) as error:
        as_images(X)
    if meant is not None:
        mended = as_images(eval(re.search(text, str(error.value))[1], {"X": X, "np": np, "torch": torch}))
        np.testing.assert_allclose(np.asarray(mended, float), np.asarray(meant, float), atol=1e-6)


def test_any_byte_order_comes_through():
    for dtype in (">f4", ">f8", "<f4"):
        np.testing.assert_allclose(as_images(FLOAT.astype(dtype)), FLOAT, atol=1e-7)
    np.testing.assert_allclose(as_images(FLOAT.astype(np.longdouble)), FLOAT, atol=1e-7)


def files_of(folder, count=3, size=(28, 28)):
    folder.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(RGB[k].transpose(1, 2, 0)).resize(size[::-1]).save(folder / f"{k}.png")
    return folder


class Yields:
    """Decodes an image whenever it is indexed."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, k):
        self.asked.append(k)
        return self.images[k]


def test_folders_files_and_sequences_come_through(tmp_path, monkeypatch):
    files_of(tmp_path / "good"), files_of(tmp_path / "bad", 1)
    good = sorted((tmp_path / "good").iterdir())
    named = (tmp_path, str(tmp_path / "good"), good, tuple(map(str, good)), pictures.Pictures(good, (28, 28)))
    lazy = (Yields(RGB[:3]), Yields(FLOAT.repeat(3, 1)[:3]), [Image.open(file) for file in good])
    for X in (*named, *lazy):
        assert torch.equal(as_images(X), torch.from_numpy(RGB[:3]))
    assert as_images(tmp_path, channels=3, size=(28, 28)).shape == (4, 3, 28, 28)  # to be judged: all of them
    assert as_images(good, channels=1, size=(14, 20)).shape == (3, 1, 14, 20)
    monkeypatch.setattr(checks, "MOST", 1000)
    lazy = as_images(tmp_path)
    assert isinstance(lazy, pictures.Pictures) and torch.equal(lazy[:], torch.from_numpy(RGB[:3]))


def test_folders_and_sequences_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder: images; expected a folder of pictures"):
        as_images("images/")
    with pytest.raises(ValueError, match=r"expected images of one size, 28×28 px, got 20×28"):
        as_images(Yields([RGB[0], RGB[1, :, :, :20]]))
    with pytest.raises(ValueError, match="cannot be read .*got int64"):
        as_images(Yields(list(RGB.astype(int))))
    (tmp_path / "good").mkdir()
    with pytest.raises(FileNotFoundError, match="expected nominal images in .*good, found none"):
        as_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected pictures below .*good, found none"):
        as_images(tmp_path / "good", size=(8, 8))


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


@pytest.mark.parametrize("y, text, meant", [
    ([1, 1], r"one label for each of the 3 images, got y of shape \(2,\)$", None),
    ([[1], [1], [-1]], r"one label for each of the 3 images, got y of shape \(3, 1\); (np.ravel\(y\))", [1, 1, -1]),
    ([1, 2, 7], r"\+1 \(nominal\), 0 \(unlabelled\) or -1 \(anomalous\), got \[2, 7\]; .*: (np.where.*)", [1, -1, -1]),
    ([0.5, 1, 0], r"or -1 \(anomalous\), got \[0.5\]", None),
    ([np.nan, 1, 0], r"or -1 \(anomalous\), got \[nan\]", None),
    ([True, False, True], "or -1 .anomalous., got True/False; if True means anomalous: (.*)", [-1, 1, -1]),
    ([0, 1, 0], "got 0 and 1 alone; if 1 means anomalous: ([^;]*); if 1 means good .* leave y out", [1, -1, 1]),
    ([-1, -1, -1], r"at least one nominal \(\+1\) or unlabelled \(0\) image, got 3 anomalous ones", None),
    (["good", "good", "bad"], r"got \['good', 'good', 'bad'\]; for example: (np.where.*)", [1, 1, -1]),
    ([None, 1, 1], r"labels \+1 \(nominal\)", None),
])  # fmt: skip
def test_labels_refused_with_the_line_that_mends_them(y, text, meant):
    with pytest.raises(ValueError, match=text) as error:
        as_labels(y, 3)
    if meant is not None:
        mended = eval(re.search(text, str(error.value))[1], {"y": y, "np": np})
        assert as_labels(mended, 3).tolist() == meant


@pytest.mark.parametrize("seed", [None, 1.5, "3", True, -1])
def test_seeds_refused(seed):
    with pytest.raises(ValueError, match="expected a whole number from 0 on as seed, got ") as error:
        check_seed(seed)
    detector = {}
    exec(str(error.value).rpartition(": ")[2], {"np": np}, detector)
    check_seed(detector["seed"]), check_seed(np.int64(3))


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
@pytest.mark.filterwarnings("error")
def test_masks_refused(shape):
    with pytest.raises(ValueError, match=r"masks of shape \(4, 1, 28, 28\), one for each image and of its size, got"):
        as_masks(np.zeros(shape), torch.from_numpy(GOOD))


@pytest.mark.parametrize("masks", [(GOOD > 128).transpose(0, 2, 3, 1), (GOOD > 128).repeat(3, 1),
                                   (GOOD > 128).repeat(3, 1).transpose(0, 2, 3, 1) * np.uint8(255)])  # fmt: skip
def test_masks_with_channels_are_told_how_to_mend(masks):
    with pytest.raises(ValueError, match="expected masks of shape") as error:
        as_masks(masks, torch.from_numpy(GOOD))
    mended = eval(str(error.value).rpartition("; ")[2], {"masks": masks})
    assert np.array_equal(as_masks(mended, torch.from_numpy(GOOD)), GOOD > 128)


def test_masks_of_any_type_mark_what_is_not_0():
    expected = torch.from_numpy(GOOD > 128)
    for dtype in (">u2", np.int64, np.float16, ">f4"):
        assert torch.equal(as_masks((GOOD > 128).astype(dtype) * 3, torch.from_numpy(GOOD)), expected)
