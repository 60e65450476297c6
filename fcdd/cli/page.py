"""A detector as one HTML file that judges pictures in a browser: nothing to install, nothing sent anywhere.

Taught in: the page on your own images.
"""

import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from datetime import date
from pathlib import Path

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from .. import __version__ as fcdd_version
from ..datasets.fetch import cache
from ..explain import colours
from ..files import whole
from ..onnx import gives_maps, to_onnx, verify

# What runs the network in the page.
RUNTIME, VERSION = "onnxruntime-web", "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
FILES = {
    "api": "ort.wasm.min.js", "glue": "ort-wasm-simd-threaded.mjs", "wasm": "ort-wasm-simd-threaded.wasm",
}  # fmt: skip
UNCALIBRATED = "It was set on the pictures that were learnt from, and promises nothing"


def runtime() -> Path:
    """The archive of the runtime. Raises like :func:`from_npm`."""
    return from_npm(RUNTIME, VERSION, SHA256)


def from_npm(name: str, version: str, sha256: str) -> Path:
    """The archive of one version of a package, fetched by npm into the cache once. Raises OSError that says how to
    bring it, ValueError where another file lies there."""
    target = cache() / f"{name}-{version}.tgz"
    if not target.exists():
        mend = f"run `npm pack {name}@{version}` where there is a network, and put {target.name} into {target.parent}"
        if (npm := shutil.which("npm")) is None:
            raise OSError(f"{name} {version} is needed, which npm fetches, and npm is not installed; {mend}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            command = [npm, "pack", "--silent", f"{name}@{version}"]
            told = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if told.returncode:
                why = (told.stderr or told.stdout).strip().splitlines() or ["it said nothing"]
                raise OSError(f"npm could not fetch {name} {version} ({why[0]}); {mend}")
            os.replace(Path(folder) / target.name, target)
    if (found := hashlib.sha256(target.read_bytes()).hexdigest()) != sha256:
        raise ValueError(f"{target} is not {name} {version}: expected sha256 {sha256}, got {found}; remove it")
    return target


def write(path: Path, detector, model: Path) -> None:
    """Writes the page of a detector, which ``model`` holds. Raises ValueError for one that judges in tiles."""
    if hasattr(detector, "inner_"):
        raise ValueError(f"expected a model that judges whole pictures: {model} judges tiles; use fcdd export or score")
    with tarfile.open(runtime()) as archive:
        parts = {key: archive.extractfile(f"package/dist/{file}").read() for key, file in FILES.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        to_onnx(detector, file)
        verify(detector, file)
        parts["model"] = file.read_bytes()
    page = Environment(loader=PackageLoader("fcdd.cli", "."), autoescape=True).get_template("page.html")
    text = page.render(
        facts=_facts(detector, model), version=fcdd_version, runtime=VERSION,
        # Within a script's element nothing may end it.
        api=Markup(parts["api"].decode().partition("//# sourceMappingURL")[0].replace("</script", "<\\/script")),
        **{key: _packed(parts[key]) for key in ("model", "wasm", "glue")},
    )  # fmt: skip
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _facts(detector, model: Path) -> dict:
    """What the page says of the model, and what its arithmetic needs."""
    from .report import settings

    read, shape = getattr(detector, "pictures_", {}), [int(side) for side in detector.image_shape_]
    promise = getattr(detector, "calibration_", None)
    kept = ("detector", "good", "folder", "network, resolved", "promise")
    told = {"model": model.name, "written": str(date.fromtimestamp(model.stat().st_mtime))}
    told |= {name: str(value) for name, value in settings(detector).items() if name in kept}
    told["pictures are brought to"] = f"{shape[2]}×{shape[1]} px, {'grey' if shape[0] == 1 else 'in colour'}"
    return {
        "name": model.stem,
        "learnt": f"{read['good']} good pictures in {read['folder']}" if "good" in read else "good pictures",
        "promise": f"{str(promise).capitalize()}." if promise else f"{UNCALIBRATED}.",
        "threshold": -float(detector.offset_),
        "known": sorted(float(each) for each in getattr(detector, "calibration_scores_", [])),
        "shape": shape,
        "maps": gives_maps(detector),
        "colours": colours().ravel().tolist(),
        "told": told,
    }
