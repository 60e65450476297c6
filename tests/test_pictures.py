"""What counts as a picture, what it holds, what a mask holds: odd and bad inputs, each with what must come of it."""

import io
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from fcdd import pictures
from fcdd.pictures import PictureError

G = np.clip(np.add.outer(np.arange(12) * 9, np.arange(16) * 9) + 20, 0, 255).astype(np.uint8)  # a ramp, 20 … 254
RGB = np.dstack([G, G[::-1], np.roll(G, 3, 1)])
ALPHA = np.where(np.arange(16) < 8, 255, 0).astype(np.uint8)[None].repeat(12, 0)
GREY = G[..., None]


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, mode).save(path, **options) if mode else Image.fromarray(array).save(path, **options)
    return path


def png(path, array, colour):
    """A PNG of 16 bits, which Pillow does not write in colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks))  # fmt: skip
    return path


def tiff(path, array, **options):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, array, **options)
    return path


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def wide(array, factor):
    return array.astype(np.uint16) * factor


# ---- what a picture holds: read(file) must give these pixels ----


def over_white(rgb, alpha):
    alpha = alpha[..., None] / 255
    return (rgb * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


HIDDEN = np.dstack([np.where(ALPHA[..., None] > 0, RGB, 77), ALPHA])
PALETTE = Image.fromarray(RGB).quantize(16)

HELD = {
    "L": (lambda p: save(p / "a.png", G), GREY, 0),
    "RGB": (lambda p: save(p / "a.png", RGB), RGB, 0),
    "1 bit": (lambda p: save(p / "a.png", G > 128), np.uint8(GREY > 128) * 255, 0),
    "LA": (lambda p: save(p / "a.png", np.dstack([G, ALPHA])), over_white(GREY, ALPHA), 1),
    "RGBA with hidden colours": (lambda p: save(p / "a.png", HIDDEN), over_white(RGB, ALPHA), 1),
    "RGBA, half transparent": (lambda p: save(p / "a.png", np.dstack([RGB, ALPHA // 2 + 60])),
                               over_white(RGB, ALPHA // 2 + 60), 1),
    "palette": (lambda p: PALETTE.save(p / "a.png") or p / "a.png", np.asarray(PALETTE.convert("RGB")), 0),
    "palette with transparency": (
        lambda p: PALETTE.save(p / "a.png", transparency=bytes([0] + [255] * 15)) or p / "a.png",
        np.where(np.asarray(PALETTE)[..., None] == 0, 255, np.asarray(PALETTE.convert("RGB"))).astype(np.uint8), 0),
    "CMYK": (lambda p: Image.fromarray(RGB).convert("CMYK").save(p / "a.tif") or p / "a.tif", RGB, 2),
    "bmp in capitals": (lambda p: save(p / "a.BMP", RGB), RGB, 0),
    "gif": (lambda p: save(p / "a.gif", G), np.dstack([G] * 3), 0),
    "ppm": (lambda p: save(p / "a.ppm", RGB), RGB, 0),
    "PNG named jpg": (lambda p: save(p / "a.jpg", RGB, format="PNG"), RGB, 0),
    "16 bits": (lambda p: save(p / "a.png", wide(G, 257)), GREY, 0),
    "14 bits in 16": (lambda p: save(p / "a.png", wide(G, 64)), GREY, 2),
    "12 bits in 16": (lambda p: save(p / "a.png", wide(G, 16)), GREY, 2),
    "10 bits in 16": (lambda p: save(p / "a.tif", wide(G, 4)), GREY, 2),
    "8 bits in 16": (lambda p: save(p / "a.tif", wide(G, 1)), GREY, 0),
    "16 bits, big-endian": (lambda p: tiff(p / "a.tif", wide(G, 257), byteorder=">"), GREY, 0),
    "16 bits, white is 0": (lambda p: tiff(p / "a.tif", wide(255 - G, 257), photometric="miniswhite"), GREY, 0),
    "8 bits, white is 0": (lambda p: tiff(p / "a.tif", 255 - G, photometric="miniswhite"), GREY, 0),
    "16-bit pgm": (lambda p: (p / "a.pgm").write_bytes(b"P5 16 12 65535\n" + wide(G, 257).astype(">u2").tobytes())
                   and p / "a.pgm", GREY, 0),
    "12-bit pgm": (lambda p: (p / "a.pgm").write_bytes(b"P5 16 12 4095\n" + wide(G, 16).astype(">u2").tobytes())
                   and p / "a.pgm", GREY, 2),
    "16 bits of colour": (lambda p: png(p / "a.png", wide(RGB, 257), 2), RGB, 0),
    "12 bits of colour in 16": (lambda p: png(p / "a.png", wide(RGB, 16), 2), RGB, 2),
    "16-bit colour TIFF": (lambda p: tiff(p / "a.tif", wide(RGB, 257), photometric="rgb"), RGB, 0),
    "12-bit colour TIFF, big-endian": (
        lambda p: tiff(p / "a.tif", wide(RGB, 16), photometric="rgb", byteorder=">"), RGB, 2),
    "16 bits and alpha": (lambda p: png(p / "a.png", np.dstack([wide(RGB, 257), wide(ALPHA, 257)]), 6),
                          over_white(RGB, ALPHA), 1),
    "planes of 8 bits": (lambda p: tiff(p / "a.tif", RGB.transpose(2, 0, 1), photometric="rgb",
                                        planarconfig="separate"), RGB, 0),
    "float 0…1": (lambda p: save(p / "a.tif", (G / 255).astype(np.float32)), GREY, 0),
    "float 0…255": (lambda p: save(p / "a.tif", G.astype(np.float32)), GREY, 0),
    "float 0…65535": (lambda p: save(p / "a.tif", G.astype(np.float32) * 257), GREY, 0),
    "int32 0…255": (lambda p: save(p / "a.tif", G.astype(np.int32)), GREY, 0),
    "compressed TIFF": (lambda p: save(p / "a.tif", wide(G, 257), compression="tiff_lzw"), GREY, 0),
    "lossless webp": (lambda p: save(p / "a.webp", RGB, lossless=True), RGB, 0),
    "one-frame gif of many colours": (lambda p: save(p / "a.gif", RGB), RGB, 60),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HELD)
def test_what_a_picture_holds(tmp_path, name):
    write, expected, tolerance = HELD[name]
    file = write(tmp_path)
    got = pictures.read(file)
    assert got.dtype == np.uint8 and got.shape == expected.shape
    assert np.abs(got.astype(int) - expected).max() <= tolerance
    assert pictures.find(tmp_path).files == [file] and pictures.size_of(file) == (12, 16)
    assert pictures.pixels(file, (12, 16), 1).shape == (1, 12, 16)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_orientation(tmp_path, orientation, suffix):
    """Stored as a camera held that way stores it; upright again when read, in every format."""
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    stored = Image.fromarray(RGB)
    stored = stored.transpose(Image.Transpose[undo[orientation]]) if orientation > 1 else stored
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    stored.save(tmp_path / f"a.{suffix}", exif=exif(orientation), **options)
    assert np.abs(pictures.read(tmp_path / f"a.{suffix}").astype(int) - RGB).max() <= (6 if suffix == "jpg" else 0)
    assert pictures.size_of(tmp_path / f"a.{suffix}") == (12, 16)


def test_orientation_of_16_bits(tmp_path):
    save(tmp_path / "a.png", np.ascontiguousarray(np.rot90(wide(G, 257))), exif=exif(6))
    assert (pictures.read(tmp_path / "a.png") == GREY).all()


def test_colour_profiles(tmp_path):
    """Of another space: converted. sRGB's own: nothing changes. Damaged, or for another mode: left out."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    as_bytes = [ImageCms.ImageCmsProfile(profile).tobytes() for profile in (srgb, lab)]
    for k, profile in enumerate([as_bytes[0], as_bytes[1], b"no profile at all"]):
        file = save(tmp_path / f"{k}.png", RGB, icc_profile=profile)
        assert (pictures.read(file) == RGB).all()
    swapped = bytearray(as_bytes[0])  # red and green exchange their places in the profile's table
    swapped = swapped.replace(b"rXYZ", b"tmp_").replace(b"gXYZ", b"rXYZ").replace(b"tmp_", b"gXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "sXYZ".encode("utf-16-be")).replace(b"sRGB", b"sXYZ")
    file = save(tmp_path / "swapped.png", RGB, icc_profile=bytes(swapped))
    assert np.abs(pictures.read(file)[..., :2].astype(int) - RGB[..., 1::-1]).mean() < 12


# ---- what cannot be read: the file is named, and what to do ----


def animated(path):
    frames = [Image.fromarray(np.roll(G, 4 * k, 1)) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def damaged(path):
    """A chunk cut off in the middle of a PNG, which raises SyntaxError in Pillow."""
    whole = save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).read_bytes()
    at = whole.index(b"IDAT")
    path.write_bytes(whole[: at - 4] + struct.pack(">I", 5000) + whole[at : at + 5004] + b"\0\0\0\0\0\0\0\x09\xa9\x8a")
    return path


def written(path, content):
    path.write_bytes(content)
    return path


def cut(path, share, **options):
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), **options)
    return written(path, path.read_bytes()[: int(share * path.stat().st_size)])


REFUSED = {
    "an empty file": (lambda p: written(p / "a.jpg", b""), "cannot identify"),
    "a web page": (lambda p: written(p / "a.png", b"<html>404</html>"), "cannot identify"),
    "half a JPEG": (lambda p: cut(p / "a.jpg", 0.5), "truncated"),
    "half a PNG": (lambda p: cut(p / "a.png", 0.5), "truncated"),
    "half a TIFF": (lambda p: cut(p / "a.tif", 0.5, compression="tiff_lzw"), "."),
    "a damaged chunk": (lambda p: damaged(p / "a.png"), "."),
    "an animation": (lambda p: animated(p / "a.gif"), "3 pages or frames"),
    "pages": (lambda p: animated(p / "a.tif"), "3 pages or frames"),
    "an animated PNG": (lambda p: animated(p / "a.png"), "3 pages or frames"),
    "negative values": (lambda p: save(p / "a.tif", G.astype(np.int32) - 100), "values from -80 to 154"),
    "floats of no known range": (lambda p: save(p / "a.tif", (G / 100).astype(np.float32)), "values from 0.2 to 2.54"),
    "NaN": (lambda p: save(p / "a.tif", np.where(G > 99, np.nan, G).astype(np.float32)), "values from nan"),
    "more than 16 bits": (lambda p: save(p / "a.tif", G.astype(np.int32) * 1000), "to 2.54e.05"),
    "planes of 16 bits": (lambda p: tiff(p / "a.tif", wide(RGB, 257).transpose(2, 0, 1), photometric="rgb",
                                         planarconfig="separate"), "separate planes"),
    "signed bytes": (lambda p: tiff(p / "a.tif", (G // 2).astype(np.int8), photometric="minisblack"), "signed bytes"),
    "float colour": (lambda p: tiff(p / "a.tif", (RGB / 255).astype(np.float32), photometric="rgb"), "cannot identify"),
    "five channels": (lambda p: tiff(p / "a.tif", np.dstack([RGB, RGB])[..., :5], photometric="minisblack",
                                     planarconfig="contig"), "cannot identify"),
    "all transparent": (lambda p: save(p / "a.png", np.dstack([RGB, ALPHA * 0])), "every pixel is transparent"),
    "12 bits and alpha": (lambda p: png(p / "a.png", np.dstack([wide(RGB, 16), wide(ALPHA, 257)]), 6), "16 bits"),
    "no file": (lambda p: p / "a.png", "No such file"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(tmp_path, name):
    write, why = REFUSED[name]
    file = write(tmp_path)
    with pytest.raises(PictureError, match=rf"{file}: cannot be read \(.*{why}.*\); save it again as PNG"):
        pictures.read(file)


def test_large_scans(tmp_path):
    """100 megapixels are read without a word, more than Pillow's limit is refused by name."""
    Image.new("1", (14000, 14000)).save(tmp_path / "huge.png")
    with pytest.raises(PictureError, match=r"huge.png: cannot be read \(Image size \(196000000 pixels\) exceeds"):
        pictures.size_of(tmp_path / "huge.png")
    Image.new("1", (10000, 10000)).save(tmp_path / "scan.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pictures.pixels(tmp_path / "scan.png", (20, 20), 1).shape == (1, 20, 20)


def test_phone_pictures_with_a_second_one_inside(tmp_path):
    """MPO: the main picture, and a small one that only some viewers show."""
    one = Image.fromarray(RGB)
    one.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[one.resize((8, 6))], quality=95)
    assert pictures.read(tmp_path / "a.jpg").shape == (12, 16, 3)


def test_white_is_the_same_for_all_pictures_of_a_folder(tmp_path):
    """A dark picture of a camera with 12 bits stays dark beside others."""
    files = [save(tmp_path / f"{k}.png", wide(G, 16) // (1, 8)[k]) for k in range(2)] + [save(tmp_path / "8.png", G)]
    assert pictures.white_of(files[:1]) == 4095 and pictures.white_of(files[1:2]) == 1023
    assert pictures.white_of([*files, tmp_path / "gone.png"]) == 4095 and pictures.white_of(files[2:]) is None
    images = pictures.Pictures(files, (12, 16), 1, white=4095)[:]
    np.testing.assert_allclose(images[1].float() * 8, images[0].float(), atol=5)
    assert (images[2, 0].numpy() == G).all()


def test_other_things_that_are_read(tmp_path):
    file = save(tmp_path / "a.png", RGB)
    with open(file, "rb") as opened:
        assert (pictures.read(opened) == RGB).all()
    for same in (Image.fromarray(RGB), RGB, RGB.transpose(2, 0, 1), RGB.astype(np.float32) / 255):
        assert (pictures.read(same) == RGB).all()
    assert (pictures.read(G) == GREY).all()
    with pytest.raises(PictureError, match=r"C = 1 or 3, got int64 \(12, 16\)"):
        pictures.read(G.astype(int))


# ---- what counts as a picture ----


APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(90)


def passed(found):
    return {why: [file.name for file in files] for why, files in found.passed.items()}


def test_what_is_passed_over_is_said(tmp_path):
    for name in ("a.png", "B.JPG", "c.tiff", "deep/er/d.webp", "e.jfif"):
        save(tmp_path / name, RGB, format="PNG")
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "scores.csv", "model.safetensors",
                 "f.heic", "g.dng", "README"):  # fmt: skip
        (tmp_path / name).write_bytes(APPLE)
    for folder in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
        save(tmp_path / folder / "a.png", RGB)
    found = pictures.find(tmp_path)
    assert [str(f.relative_to(tmp_path)) for f in found.files] == [
        "B.JPG",
        "a.png",
        "c.tiff",
        "deep/er/d.webp",
        "e.jfif",
    ]
    assert passed(found) == {
        "hidden or of the system": [".DS_Store", "._a.png", ".git", ".ipynb_checkpoints", "@eaDir", "Thumbs.db",
                                    "__MACOSX", "desktop.ini"],
        "no pictures": ["README", "model.safetensors", "notes.txt", "scores.csv"],
        "of a kind that is not read, .dng: save as PNG": ["g.dng"],
        "of a kind that is not read, .heic: save as PNG": ["f.heic"],
    }  # fmt: skip
    assert str(found) == (
        f"5 pictures in {tmp_path}; passed over: 8 hidden or of the system (.DS_Store, ._a.png, .git, …), 4 no "
        "pictures (README, model.safetensors, notes.txt, …), 1 of a kind that is not read, .dng: save as PNG (g.dng), "
        "1 of a kind that is not read, .heic: save as PNG (f.heic)"
    )


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links(tmp_path):
    """Followed where they lead out; passed over in circles, to nowhere, and to what is counted already."""
    root, other = tmp_path / "parts", tmp_path / "other"
    for k in range(2):
        save(root / "good" / f"{k}.png", RGB)
        save(other / "more" / f"{k}.png", RGB)
    (other / "back").symlink_to(root)
    (root / "linked").symlink_to(other)
    (root / "up").symlink_to(tmp_path)
    (root / "same").symlink_to(root / "good")
    (root / "copy.png").symlink_to(root / "good" / "0.png")
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "self").symlink_to(root / "self")
    found = pictures.find(root)
    assert [str(f.relative_to(root)) for f in found.files] == [
        "good/0.png", "good/1.png", "linked/more/0.png", "linked/more/1.png"]  # fmt: skip
    assert passed(found) == {
        "broken links": ["gone.png", "self"],
        "links to what is counted already": ["copy.png", "back", "same", "up"],
    }


def test_links_into_a_hidden_store(tmp_path):
    """git-annex and DVC keep the files in a hidden folder of the same tree."""
    stored = save(tmp_path / ".git" / "annex" / "1f3a.png", RGB)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.png").symlink_to(stored)
    assert [file.name for file in pictures.find(tmp_path).files] == ["a.png"]


def test_heatmaps_are_not_taken_for_pictures(tmp_path):
    from fcdd import explain

    save(tmp_path / "a.png", RGB)
    explain.write_overlays(tmp_path, ["heat/a", "b"], RGB.transpose(2, 0, 1)[None].repeat(2, 0), np.ones((2, 12, 16)))
    found = pictures.find(tmp_path)
    assert [file.name for file in found.files] == ["a.png"] and passed(found) == {"drawn by fcdd": ["b.png", "a.png"]}


def test_one_file_and_none(tmp_path):
    file = save(tmp_path / "a.png", RGB)
    assert pictures.find(file).files == [file] and pictures.find(str(file)).files == [file]
    with pytest.raises(FileNotFoundError, match="no such file or folder: .*nowhere; expected a folder of pictures"):
        pictures.find(tmp_path / "nowhere")


# ---- at one size ----


@pytest.mark.parametrize("sizes, shorter, expected", [
    ([(300, 400)], None, (256, 344)),  # 341 to the next multiple of 8
    ([(400, 300)], 128, (168, 128)),
    ([(300, 300), (900, 900)], 224, (224, 224)),
    ([(28, 28)], None, (28, 28)),
    ([(30, 45)], None, (30, 45)),
    ([(32, 32)], 28, (28, 28)),
    ([(120, 400)], 28, (28, 93)),
    ([(100, 100), (100, 101)], 100, (100, 100)),
])  # fmt: skip
def test_common_size(tmp_path, sizes, shorter, expected):
    files = [save(tmp_path / f"{k}.png", np.zeros(size, np.uint8)) for k, size in enumerate(sizes)]
    assert pictures.shape([*files, written(tmp_path / "bad.png", b"")], shorter) == expected


def test_mixed_aspect_ratios(tmp_path):
    files = [
        save(tmp_path / f"{k}.png", np.zeros(size, np.uint8)) for k, size in enumerate([(30, 30), (30, 40), (30, 30)])
    ]
    text = r"one aspect ratio, got 30×30 px \(.*0.png\) and 40×30 px \(.*1.png\); crop or pad them alike, or sort them"
    with pytest.raises(PictureError, match=text):
        pictures.shape(files)
    with pytest.raises(PictureError, match="a.png: cannot be read"):
        pictures.shape([written(tmp_path / "a.png", b"")])
    with pytest.raises(PictureError, match="expected pictures, got none"):
        pictures.shape([])


def test_pictures_stand_for_a_tensor(tmp_path):
    files = [save(tmp_path / f"{k}.png", np.full((8, 8, 3), 10 * k, np.uint8)) for k in range(5)]
    lazy = pictures.Pictures(files, (6, 4))
    assert lazy.shape == (5, 3, 6, 4) and len(lazy) == 5 and lazy.dtype == torch.uint8
    assert torch.equal(torch.cat(list(lazy.split(2))), lazy[:])
    assert lazy[torch.tensor([4, 1])][:, 0, 0, 0].tolist() == [40, 10]
    assert lazy[np.array([True, False, False, True, False])][:, 0, 0, 0].tolist() == [0, 30]
    written(files[2], b"damaged")
    with pytest.raises(ValueError, match="1 pictures are damaged:\n- .*2.png: cannot be read"):
        lazy[:]


# ---- what a mask holds ----

SQUARE = np.zeros((32, 32), np.uint8)
SQUARE[4:12, 6:20] = 1
KINDS = SQUARE.copy()
KINDS[20:28, 4:12], KINDS[20:28, 20:30] = 2, 3
SOFT = np.asarray(Image.fromarray(SQUARE * 255).resize((128, 128), Image.Resampling.BILINEAR))
HARD = SQUARE.repeat(4, 0).repeat(4, 1)
POINT = np.eye(1, 1024, 40, dtype=np.uint8).reshape(32, 32)
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0] + [0] * (768 - 12)


def with_palette(array, palette):
    image = Image.fromarray(array).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(palette)
    return image


MASKS = {
    "0 and 1": (lambda f: save(f, SQUARE), SQUARE),
    "0 and 255": (lambda f: save(f, SQUARE * 255), SQUARE),
    "1 bit": (lambda f: save(f, SQUARE > 0), SQUARE),
    "16 bits": (lambda f: save(f, wide(SQUARE, 65535)), SQUARE),
    "16 bits, 0 and 1": (lambda f: save(f, wide(SQUARE, 1)), SQUARE),
    "float 0…1": (lambda f: save(f.with_suffix(".tif"), SQUARE.astype(np.float32)), SQUARE),
    "numbers of kinds": (lambda f: save(f, KINDS), KINDS),
    "numbers from 247": (lambda f: save(f, np.where(KINDS, KINDS + 246, 0).astype(np.uint8)), KINDS),
    "numbers spread out": (lambda f: save(f, KINDS * 80), KINDS),
    "40 kinds": (lambda f: save(f, (np.arange(32 * 32).reshape(32, 32) % 41).astype(np.uint8)),
                 np.arange(32 * 32).reshape(32, 32) % 41 > 0),
    "a palette": (lambda f: with_palette(KINDS, VOC).save(f), KINDS),
    "a palette without colours": (lambda f: with_palette(KINDS, [0] * 768).save(f), KINDS),
    "a palette from white to black": (lambda f: with_palette(1 - SQUARE, [255] * 3 + [0] * 765).save(f), SQUARE),
    "colours on black": (lambda f: save(f, np.dstack([SQUARE * 0, SQUARE * 200, SQUARE * 30])), SQUARE),
    "paint on a transparent layer": (lambda f: save(f, np.dstack([SQUARE * 0 + 255] * 3 + [SQUARE * 255])), SQUARE),
    "an anti-aliased edge": (lambda f: save(f, SOFT), SOFT > 127),
    "JPEG": (lambda f: save(f.with_suffix(".jpg"), HARD * 255, quality=75), HARD),
    "nothing marked": (lambda f: save(f, SQUARE * 0), SQUARE * 0),
    "all marked": (lambda f: save(f, SQUARE * 0 + 255), SQUARE * 0 + 1),
    "one pixel": (lambda f: save(f, POINT), POINT),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_what_a_mask_holds(tmp_path, name):
    write, expected = MASKS[name]
    write(tmp_path / "a_mask.png")
    (file,) = tmp_path.iterdir()
    marked = pictures.mask(file)
    assert marked.dtype == bool and np.array_equal(marked, expected > 0)
    half = pictures.mask(file, (16, 16))
    assert half.shape == (16, 16) and (half.any() or not marked.any() or name == "one pixel")


def test_a_jpeg_cannot_hold_numbers(tmp_path):
    with pytest.raises(PictureError, match=r"a.jpg: cannot be read \(a JPEG mask whose largest value is \d"):
        pictures.mask(save(tmp_path / "a.jpg", KINDS * 4))


def test_a_mask_is_turned_as_its_picture(tmp_path):
    save(tmp_path / "a.png", np.ascontiguousarray(np.rot90(SQUARE)), exif=exif(6))
    assert np.array_equal(pictures.mask(tmp_path / "a.png"), SQUARE > 0)


def test_small_defects():
    masks = np.zeros((3, 1, 64, 64), bool)
    masks[0, 0, 3:7, 3:7] = masks[1, 0, 10:40, 10:40] = masks[2, 0, :2, :2] = True
    text = r"2 of 3 defects are smaller than two cells of the map \(16 px\), the smallest 2 px"
    assert pictures.small_defects(masks, 8).startswith(text.replace("\\", ""))
    assert pictures.small_defects(masks[1], 8) is None and pictures.small_defects(masks[:0], 8) is None


# ---- tiles ----


@pytest.mark.parametrize("size, tile, overlap", [((100, 260), 64, None), ((64, 64), 64, 0), ((65, 640), 64, 63)])
def test_tiles_cover_the_picture(size, tile, overlap):
    for starts, length in zip(pictures.tiles(*size, tile, overlap), size, strict=True):
        assert starts[0] == 0 and starts[-1] == length - tile
        assert all(np.diff(starts) <= tile - (tile // 4 if overlap is None else overlap))


def test_one_map_from_tiles():
    """Where each pixel's score is its own, tiles change nothing; tiles that disagree are blended, without a seam."""
    picture = np.random.default_rng(0).integers(0, 256, (3, 100, 150), dtype=np.uint8)
    heat, scores = pictures.score_in_tiles(picture, lambda t: t.float().mean(1).numpy(), 40, batch=5)
    np.testing.assert_allclose(heat, picture.mean(0), rtol=1e-5)
    assert scores.shape == (3, 5) and scores.max() == pytest.approx(picture.mean(0).max())
    steps = iter(range(100))

    def disagree(tiles):
        return np.full((len(tiles), 40, 40), next(steps), np.float32), np.zeros(len(tiles))

    heat, scores = pictures.score_in_tiles(picture, disagree, 40, batch=1)
    assert np.abs(np.diff(heat, axis=1)).max() < 0.2 and heat.min() == 0 and (scores == 0).all()


def test_tiles_refused():
    with pytest.raises(ValueError, match="no larger than the picture .* got 64 px with an overlap of 16 for .* 100×50"):
        pictures.tiles(50, 100, 64)
    with pytest.raises(ValueError, match="overlap smaller than a tile, got 64 px with an overlap of 64"):
        pictures.tiles(100, 100, 64, 64)


def test_bytes_in_memory():
    """As from an archive."""
    file = io.BytesIO()
    Image.fromarray(wide(G, 16)).save(file, "PNG")
    assert np.abs(pictures.pixels(file, (12, 16), 1)[0].astype(int) - G).max() <= 2
