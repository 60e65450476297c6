"""Which layout a folder of pictures has: recognised and said in one line, or refused. Taught in: the page on the
library."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import pictures
from .datasets.split import Images, Split
from .errors import DataError, all_of

ROLES = {  # what folders, and labels in tables, are called; in any case
    "train": "train training",
    "test": "test testing",
    "good": "good ok normal nominal io pass passed intact gut",
    "bad": "bad ko ng nok nio not_good defect defects defective anomaly anomalies anomalous abnormal fail failed "
    "faulty broken damaged reject rejects",
    "masks": "ground_truth groundtruth gt mask masks annotation annotations segmentation",
}
ROLE_OF = {name: role for role, names in ROLES.items() for name in names.split()}
# Names of folders that divide good pictures and say nothing on them: 2024-05-01, monday, cam 1, sheet_03.
DAYS = re.compile(
    r"[\W\d_]*((mon|tues|wednes|thurs|fri|satur|sun)?day|week|cam(era)?|sheet|batch|lot|shift|line|station|run|left|right"
    r"|top|bottom|front|back|side)?[\W\d_]*",
    re.I,
)
MASK = re.compile(r"[-_. ]?(mask|gt|label|ground_?truth)$", re.I)  # what a mask's name has and its picture's has not
KNOWN = """; known are
- good pictures alone, in one folder or in folders of days, sheets or cameras (2024-05-01, monday, sheet_03, cam 1)
- good/ (or ok, normal) beside folders of defects, with or without masks/
- train/good, test/good, test/<defect>, ground_truth/<defect> (MVTec-AD; also ok and ko, as BTAD)
- a CSV file with the columns image and label (normal or not), also split, mask and object (VisA)"""


@dataclass(frozen=True)
class Layout:
    """A folder as it was understood; prints as the line that is said before training.

    good: files to learn from, which lie in ``where``; test: files to judge, and of each the ``kind`` (its folder or
    label), its mask or None, its name; passed: what is not used, by reason; problems: what has to be mended first.
    """

    root: Path
    kind: str
    good: list[Path]
    where: str
    test: list[Path] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    masks: list[Path | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    passed: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def anomalous(self) -> np.ndarray:
        """(n,) boolean, of the files to judge."""
        return np.array([role(kind) != "good" for kind in self.kinds], bool)

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) days, sheets or cameras of the good pictures, as folders or numbers in names suggest them, or None."""
        numbered = [m[1] for file in self.good if (m := re.fullmatch(r"(.*\d.*)[-_]\d+", file.stem))]
        for names in ([str(f.parent) for f in self.good], numbered if len(numbered) == len(self.good) else []):
            if 1 < len(set(names)) <= len(names) / 2:
                return np.array(names)
        return None

    def __str__(self):
        text = f"{self.root}: {self.kind}; {_count(self.good, 'good picture')} to learn from in {self.where}"
        test = np.array(self.test, object)
        good, bad = test[~self.anomalous].tolist(), test[self.anomalous].tolist()
        kinds = Counter(np.array(self.kinds)[self.anomalous].tolist()) if bad else {}
        told = [f"{_count(good, 'other good one')} in {_common(good, self.root)}"] if good else []
        told += [f"{_count(bad, 'defect')} in {_common(bad, self.root)}"] if bad else []
        text += f"; {' and '.join(told)}" if told else ""
        text += f" ({', '.join(f'{kind} {n}' for kind, n in kinds.items())})" if len(kinds) > 1 else ""
        text += ", not learnt from" if told else ""
        if drawn := [mask for mask in self.masks if mask]:
            text += f"; {_count(drawn, 'mask')} in {_common(drawn, self.root)}"
        if self.groups is not None:
            names = [Path(name).name for name in dict.fromkeys(self.groups.tolist())]
            text += f"; {len(names)} groups by their names ({names[0]} … {names[-1]})"
        return text + pictures.said(self.passed)

    def _missing(self) -> str:
        suffixes = ", ".join(sorted(pictures.SUFFIXES))
        return f"expected nominal images in {self.root / self.where}, found none (of {suffixes})"

    def learn(self, size=None, channels: int = 3, fit=pictures.squeeze) -> pictures.Pictures:
        """The good pictures, decoded when they are indexed; ``size``: (H, W), the shorter side, or None, as in
        ``fcdd.pictures.shape``. Raises FileNotFoundError if there are none."""
        if not self.good:
            raise FileNotFoundError(self._missing())
        size = pictures.shape(self.good, size) if size is None or isinstance(size, int) else size
        return pictures.Pictures(self.good, size, channels, fit, pictures.white_of(self.good + self.test))

    def split(self, size=(224, 224), channels: int = 3, fit=pictures.squeeze) -> Split:
        """All of it as a :class:`~fcdd.datasets.Split`. Raises FileNotFoundError if there are no good pictures,
        :class:`~fcdd.datasets.DataError` that lists all that is wrong."""
        problems, white = list(self.problems), pictures.white_of(self.good + self.test)
        train, test = (pictures.decoded(f, size, channels, problems, fit, white) for f in (self.good, self.test))
        masks = self.read_masks(size, fit, problems)
        if not self.good and not problems:
            raise FileNotFoundError(self._missing())
        problems += [] if self.good else [self._missing()]
        if problems:
            raise all_of(problems, f"problems in {self.root}")
        nominal, y = np.zeros(len(self.good), bool), torch.from_numpy(np.where(self.anomalous, -1, 1))
        names = np.array([file.stem for file in self.good]), np.array(self.names)
        train = Images(train, torch.zeros(len(nominal), dtype=torch.int64), nominal, names[0])
        test = Images(test, y, self.anomalous, names[1], masks)
        return Split(self.root.name, "good", train, test, str(self.root))

    def original_masks(self, names) -> list[np.ndarray]:
        """Boolean (H, W) at the size of the files, of the test pictures with these ``names``; blank without a mask."""
        at = {name: pair for name, *pair in zip(self.names, self.test, self.masks, strict=True)}
        if gone := [name for name in names if name not in at]:
            raise FileNotFoundError(f"expected the picture {gone[0]} below {self.root}; it was there when it was read")
        pairs = [at[name] for name in names]
        return [np.zeros(pictures.size_of(file), bool) if m is None else pictures.mask(m) for file, m in pairs]

    def read_masks(self, size, fit, problems: list[str]) -> torch.Tensor | None:
        """(N, 1, H, W) boolean; None where defects have none. What masks cannot be is added to ``problems``."""
        masks, inverted = np.zeros((len(self.test), 1, *size), bool), []
        for k, (file, bad) in enumerate(zip(self.masks, self.anomalous, strict=True)):
            if file is None:
                continue
            try:
                marked = pictures.mask(file)
                masks[k, 0] = pictures.mask_at(marked, size, fit)
            except pictures.PictureError as error:
                problems.append(str(error))
                continue
            if marked.any() != bad:
                what = "marks nothing, but its picture shows a defect" if bad else "marks a good picture"
                problems.append(f"{file}: {what}; draw it again, white on the defect")
            border = np.concatenate([marked[0], marked[-1], marked[:, 0], marked[:, -1]])
            inverted += [file] if border.all() and 0.5 < marked.mean() < 1 else []
        if 2 * len(inverted) > len([mask for mask in self.masks if mask]):
            what = f"{_count(inverted, 'mask')}, first {inverted[0]}, white around the defect and not on it"
            problems.append(f"{what}; invert them: white on the defect, black elsewhere")
        return None if self.anomalous.any() and not any(self.masks) else torch.from_numpy(masks)


def _count(things: list, what: str) -> str:
    return f"{len(things):,} {what}" + ("" if len(things) == 1 else "s")


def _common(files: list[Path], root: Path) -> str:
    """The folder of all files, as ``root`` sees it."""
    return os.path.relpath(os.path.commonpath([file.parent for file in files]), root)


def role(name: str) -> str:
    """What a folder or label of this name is for, a key of :data:`ROLES`; empty if its name does not say it."""
    words = re.sub(r"[-_\s]+", "_", name.lower()).replace(".", "")
    return ROLE_OF.get(words.strip("_0123456789"), "")


def recognise(path) -> Layout:
    """The layout of a folder. Raises FileNotFoundError for one that is not there, :class:`~fcdd.datasets.DataError`
    that names the layouts known where it is none of them, as guessing would teach defects as good."""
    found = pictures.find(path)
    root = found.root
    if root.is_file():
        return Layout(root, "one picture", [root], ".")
    if rows := _table(root):
        return _from_table(found, rows)
    tops = _folders(root, found)
    roles = {name: role(name) for name in tops if name}
    if "train" in roles.values():
        return _parts(found, tops, roles)
    if "good" in roles.values():
        return _beside(found, tops, roles)
    if len(roles) == 1 and not tops[""] and not any(roles.values()):
        return recognise(root / next(iter(roles)))  # an archive's outer folder
    return _flat(found, tops, roles)


def _folders(root: Path, found) -> dict[str, list[Path]]:
    """The files below each folder of ``root``, also of empty ones; those that lie directly in it under ""."""
    tops = {"": []} | {folder.name: [] for folder in found.folders if folder.parent == root and folder != root}
    for file in found.files:
        if file.is_relative_to(root):
            parts = file.relative_to(root).parts
            tops[parts[0] if len(parts) > 1 else ""].append(file)
    return tops


def _parts(found, tops, roles) -> Layout:
    """train/ and perhaps test/ and masks, each with a folder a kind."""
    root, left = found.root, {}
    train = next(name for name in roles if roles[name] == "train")
    inner = _folders(root / train, found)
    subs = [sub for sub in inner if sub]
    good = [sub for sub in subs if role(sub) == "good"]
    if not good and (any(map(role, subs)) or (len(subs) > 1 and not all(map(DAYS.fullmatch, subs)))):
        raise _refusal(root, f"{train}/ with {', '.join(subs)}, of which none is called good, ok or normal")
    good = good or list(inner)
    left |= {f"in {train}/{sub or '.'}, not learnt from": inner[sub] for sub in inner if sub not in good}
    tests, homes = {}, [root / top for top in roles if roles[top] == "masks"]
    for top in (top for top in roles if roles[top] == "test"):
        inside = _folders(root / top, found)
        left[f"in {top}/ without a label"] = inside.pop("")
        homes += [root / top / sub for sub in inside if role(sub) == "masks"]
        tests |= {root / top / sub: files for sub, files in inside.items() if role(sub) != "masks"}
    left |= {f"in {top}/, no part of the layout": tops[top] for top in roles if roles[top] in ("", "good", "bad")}
    left["beside the folders"] = tops[""]
    files, where = sorted(file for sub in good for file in inner[sub]), good[0] if len(good) == 1 else ""
    kind = "train and test, as MVTec-AD has them" if tests else "pictures to learn from"
    return _paired(Layout(root, kind, files, str(Path(train, where)), passed=_passed(found, left)), tests, homes, found)


def _beside(found, tops, roles) -> Layout:
    """good/ beside folders of defects and masks."""
    root, good = found.root, [name for name in roles if roles[name] == "good"]
    left = {f"in {name}/, which asks for train/": tops[name] for name in roles if roles[name] == "test"}
    left["beside the folders"] = tops[""]
    tests = {root / name: tops[name] for name in roles if roles[name] in ("", "bad")}
    files = sorted(file for name in good for file in tops[name])
    kind = "good pictures beside defects" if tests else "good pictures alone"
    layout = Layout(root, kind, files, " and ".join(good), passed=_passed(found, left))
    return _paired(layout, tests, [root / name for name in roles if roles[name] == "masks"], found)


def _flat(found, tops, roles) -> Layout:
    """Good pictures alone, perhaps in folders by day, sheet or camera."""
    root, names = found.root, [name for name in roles if tops[name]]
    stems = {file.with_suffix("") for file in found.files}
    beside = [s for s in stems if (base := MASK.sub("", s.name)) not in ("", s.name) and s.with_name(base) in stems]
    sets = [name for name in names if any(role(sub) in ("train", "good") for sub in _folders(root / name, found))]
    if strange := [name for name in names if roles[name]]:
        raise _refusal(root, f"{', '.join(strange)} beside pictures that no folder calls good, ok or normal")
    if sets:
        raise _refusal(root, f"{len(sets)} data sets ({', '.join(sets[:5])}), of which one is wanted: name its folder")
    if odd := [name for name in names if not DAYS.fullmatch(name)]:
        raise _refusal(
            root, f"folders whose names do not say which are good ({', '.join(odd[:5])}): put these into good/"
        )
    if beside:
        raise _refusal(
            root, f"masks beside their pictures, as {min(beside)}: put them into masks/, the others into good/"
        )
    kind, where = ("good pictures alone", ".") if found.files else ("empty", "train/good")
    return Layout(root, kind, found.files, where, passed=found.passed)


def _refusal(root: Path, got: str) -> DataError:
    return DataError(f"the layout of {root} is not known: found {got}{KNOWN}")


def _passed(found, left: dict[str, list[Path]]) -> dict[str, list[Path]]:
    return found.passed | {why: files for why, files in left.items() if files}


def _paired(layout: Layout, tests: dict[Path, list[Path]], homes: list[Path], found) -> Layout:
    """The layout with its test pictures, folder by folder, and the mask of each, which lies in one of ``homes``."""
    at = [
        (file, folder.name, file.relative_to(folder).with_suffix(""))
        for folder in sorted(tests)
        for file in tests[folder]
    ]
    masks, used, problems = _masks(homes, found), set(), layout.problems
    taken = Counter((kind, place) for _, kind, place in at)
    alike = Counter(place for _, kind, place in at if role(kind) != "good")
    for file, kind, place in at:
        bad = role(kind) != "good"
        fitting = masks.get((kind, place)) or (masks.get(("", place), []) if bad else [])
        name = place if taken[kind, place] == 1 else f"{place}{file.suffix}"
        layout.test.append(file)
        layout.kinds.append(kind)
        layout.masks.append(fitting[0] if fitting else None)
        layout.names.append(f"{kind}/{name}")
        used |= {*fitting}
        if len(fitting) > 1:
            problems.append(f"{' and '.join(map(str, fitting))}: several masks for {file}; keep one")
        elif fitting and (taken[kind, place] > 1 or ((kind, place) not in masks and alike[place] > 1)):
            problems.append(
                f"{fitting[0]}: fits several pictures, one is {file}; give each a name and a mask of its own"
            )
        elif fitting:
            problems += _other_size(fitting[0], file)
        elif bad and masks:
            missing = homes[0] / kind / f"{place}_mask.png"
            problems.append(f"{missing}: missing (every image in a defect folder needs a mask)")
    home = next(iter(tests)).parent if tests else layout.root
    unused = sorted({file for files in masks.values() for file in files} - used)
    problems += [f"{file}: there is no image for this mask in {home / file.parent.name}" for file in unused]
    problems += [f"{folder}: empty; put images there or remove it" for folder in sorted(tests) if not tests[folder]]
    return layout


def _masks(homes: Iterable[Path], found) -> dict[tuple[str, Path], list[Path]]:
    """Masks by the kind of defect, "" if they lie in one folder, and their place below it without _mask and suffix."""
    masks: dict[tuple[str, Path], list[Path]] = {}
    for file, root in ((file, root) for root in homes for file in found.files if file.is_relative_to(root)):
        place = file.relative_to(root).with_suffix("")
        kind, place = (place.parts[0], Path(*place.parts[1:])) if len(place.parts) > 1 else ("", place)
        masks.setdefault((kind, place.with_name(MASK.sub("", place.name) or place.name)), []).append(file)
    return masks


def _other_size(mask: Path, file: Path) -> list[str]:
    """The problem of a mask that is not as large as its picture; what cannot be read is told when it is read."""
    try:
        got, wanted = pictures.size_of(mask), pictures.size_of(file)
    except pictures.PictureError:
        return []
    return [] if got == wanted else [f"{mask}: {got[1]}×{got[0]} px, but its image has {wanted[1]}×{wanted[0]}"]


def _table(root: Path) -> list[dict[str, str | Path]]:
    """The rows of the first CSV file with the columns image and label, files as paths: in the folder, split_csv/, or
    that of the folder above, whose rows name the folder as their object."""
    places = [*sorted(root.glob("*.csv")), root / "split_csv" / "1cls.csv", root.parent / "split_csv" / "1cls.csv"]
    for place in filter(Path.is_file, places):
        lines = place.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        separator = ";" if lines and ";" in lines[0] else ","
        named = csv.DictReader(lines, delimiter=separator)
        rows = [{_column(str(key)): str(value or "").strip() for key, value in row.items()} for row in named]
        if place == root.parent / "split_csv" / "1cls.csv":
            rows = [row for row in rows if row.get("object") == root.name]
        if rows and {"image", "label"} <= set(rows[0]):
            homes = (place.parent, place.parent.parent, root)
            home = next((home for home in homes if (home / rows[0]["image"]).exists()), place.parent)
            return [row | {key: home / row[key] for key in ("image", "mask") if row.get(key)} for row in rows]
    return []


def _column(name: str) -> str:
    name = re.sub(r"[-_\s]?(name|path)$", "", name.strip().lower())
    return "image" if name in ("", "file", "picture") else name


def _from_table(found, rows) -> Layout:
    """VisA's tables, or one's own with the columns image and label."""
    root, objects = found.root, sorted({row.get("object", "") for row in rows})
    labels = sorted({row["label"] for row in rows})
    if len(objects) > 1:
        raise _refusal(
            root, f"{len(objects)} objects ({', '.join(objects[:5])}), of which one is wanted: name its folder"
        )
    if "good" not in map(role, labels):
        raise _refusal(root, f"the labels {', '.join(labels[:5])}, none of which is normal, good or ok")
    files = {row[key] for row in rows for key in ("image", "mask") if row.get(key)}
    problems = [f"{file}: missing, though the table names it" for file in sorted(files) if not file.is_file()]
    good = [row["image"] for row in rows if role(row["label"]) == "good" and role(row.get("split", "train")) == "train"]
    judged = [row for row in rows if role(row.get("split", "test")) == "test" and row["image"] not in set(good)]
    test, kinds, masks = ([row.get(key) or None for row in judged] for key in ("image", "label", "mask"))
    for row in judged:
        if row.get("mask"):
            problems += _other_size(row["mask"], row["image"])
        elif any(masks) and role(row["label"]) != "good":
            problems.append(f"{row['image']}: its row names no mask (every defect needs one, or none has)")
    left = {"in the table, for neither learning nor testing": sorted({row["image"] for row in rows} - {*good, *test})}
    left["not in the table"] = [file for file in found.files if file not in files]
    names = [f"{kind}/{file.stem}" for file, kind in zip(test, kinds, strict=True)]
    passed = _passed(found, left)
    return Layout(root, "a table, as VisA has it", good, ".", test, kinds, masks, names, passed, problems)
