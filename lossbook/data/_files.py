"""Loaders of image data in their original formats; nothing is downloaded unasked.

MNIST and Fashion-MNIST come as four gzipped IDX files each, CIFAR as a gzipped tar
archive of pickles. The files lie in one folder a data set under `root`, under their
original names, and are read as they are: a file whose checksum is wrong is refused.
"""

import gzip
import hashlib
import os
import pickle
import struct
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lossbook.data._task import Task
from lossbook.trees import Hierarchy

ROOT_VARIABLE = "LOSSBOOK_DATA"
CHUNK = 2**20  # bytes
PATIENCE = 30  # seconds without a byte


@dataclass(frozen=True)
class Source:
    """Where the files of a data set come from.

    Attributes:
        folder: their folder under the root.
        url: of the files, ending in a slash.
        files: name -> MD5 checksum, as their publishers or torchvision state it.
    """

    folder: str
    url: str
    files: Mapping[str, str]


def _idx(folder: str, url: str, checksums: tuple[str, str, str, str]) -> Source:
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    return Source(folder, url, dict(zip(names, checksums, strict=True)))


MNIST = _idx(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
)
FASHION_MNIST = _idx(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
)
CIFAR10 = Source(
    "cifar-10",
    "https://www.cs.toronto.edu/~kriz/",
    {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"},
)
CIFAR100 = Source(
    "cifar-100",
    "https://www.cs.toronto.edu/~kriz/",
    {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"},
)


# --- what users call -----------------------------------------------------------


def mnist(
    root: str | Path | None = None,
    *,
    download: bool = False,
    source: Source | None = None,
) -> tuple[Task, Task]:
    """Return handwritten digits, 28 x 28 pixels: 60,000 to train and 10,000 to test.

    Args:
        root: the folder of all data sets; by default that of the environment variable
            LOSSBOOK_DATA.
        download: fetch what is missing, about 12 MB.
        source: where the files come from, for a mirror; its publisher where not given.

    Returns:
        Training and test task, with inputs (n, 784), float32 between 0 and 1, and
        labels (n,).

    Raises:
        FileNotFoundError: for a missing file, if `download` is off.
        ValueError: for a damaged file, or no root.

    Source: LeCun, Bottou, Bengio, Haffner (1998).
    """
    files = _files(source or MNIST, root, download)
    return _pair_of_idx(*files[:2]), _pair_of_idx(*files[2:])


def fashion_mnist(
    root: str | Path | None = None,
    *,
    download: bool = False,
    source: Source | None = None,
) -> tuple[Task, Task]:
    """Return pictures of clothing, 28 x 28 pixels, in ten classes, as `mnist`.

    Args:
        root: as for `mnist`.
        download: fetch what is missing, about 31 MB.
        source: as for `mnist`.

    Returns:
        Training and test task, with inputs (n, 784), float32 between 0 and 1, and
        labels (n,).

    Raises:
        FileNotFoundError: for a missing file, if `download` is off.
        ValueError: for a damaged file, or no root.

    Source: Xiao, Rasul, Vollgraf (2017), MIT license.
    """
    files = _files(source or FASHION_MNIST, root, download)
    return _pair_of_idx(*files[:2]), _pair_of_idx(*files[2:])


def cifar10(
    root: str | Path | None = None,
    *,
    download: bool = False,
    source: Source | None = None,
) -> tuple[Task, Task]:
    """Return color pictures of ten things, 32 x 32: 50,000 to train, 10,000 to test.

    Args:
        root: as for `mnist`.
        download: fetch what is missing, about 170 MB.
        source: as for `mnist`.

    Returns:
        Training and test task, with inputs (n, 3072), float32 between 0 and 1, channel
        by channel and row by row, and labels (n,).

    Raises:
        FileNotFoundError: for a missing file, if `download` is off.
        ValueError: for a damaged file, or no root.

    Source: Krizhevsky (2009).
    """
    (archive,) = _files(source or CIFAR10, root, download)
    batches = [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)]
    records = _pickles(archive, [*batches, "cifar-10-batches-py/test_batch"])
    return _task_of(records[:-1], b"labels"), _task_of(records[-1:], b"labels")


def cifar100(
    root: str | Path | None = None,
    *,
    download: bool = False,
    coarse: bool = False,
    source: Source | None = None,
) -> tuple[Task, Task]:
    """Return color pictures of a hundred things, 32 x 32, in twenty superclasses.

    Args:
        root: as for `mnist`.
        download: fetch what is missing, about 170 MB.
        coarse: label with the superclasses.
        source: as for `mnist`.

    Returns:
        Training and test task, with inputs (n, 3072), float32 between 0 and 1, channel
        by channel and row by row, and labels (n,).

    Raises:
        FileNotFoundError: for a missing file, if `download` is off.
        ValueError: for a damaged file, or no root.

    Source: Krizhevsky (2009).
    """
    (archive,) = _files(source or CIFAR100, root, download)
    key = b"coarse_labels" if coarse else b"fine_labels"
    train, test = _pickles(archive, _CIFAR100_PARTS)
    return _task_of([train], key), _task_of([test], key)


def cifar100_hierarchy(
    root: str | Path | None = None,
    *,
    download: bool = False,
    source: Source | None = None,
) -> Hierarchy:
    """Return the tree of CIFAR-100, each class under its superclass.

    Which class belongs to which superclass is read from the labels of the training
    part. The classes are in the order of `cifar100`'s labels.

    Args:
        root: as for `mnist`.
        download: fetch what is missing, about 170 MB.
        source: as for `mnist`.

    Raises:
        FileNotFoundError: for a missing file, if `download` is off.
        ValueError: for a damaged file, no root, or a class that is in no superclass or
            in two.
    """
    (archive,) = _files(source or CIFAR100, root, download)
    names, train = _pickles(archive, ["cifar-100-python/meta", _CIFAR100_PARTS[0]])
    fine, coarse = (
        [name.decode() for name in names[key]]
        for key in (b"fine_label_names", b"coarse_label_names")
    )
    pairs = {*zip(train[b"fine_labels"], train[b"coarse_labels"], strict=True)}
    if sorted(f for f, _ in pairs) != list(range(len(fine))):
        raise ValueError(
            f"each of the {len(fine)} classes in {archive} must be in one superclass, "
            f"got {len(pairs)} pairs of class and superclass"
        )
    above = {fine[f]: coarse[c] for f, c in pairs}
    used = dict.fromkeys(above.values(), "root")
    return Hierarchy.from_parents(above | used, classes=fine)


_CIFAR100_PARTS = ["cifar-100-python/train", "cifar-100-python/test"]


# --- files ---------------------------------------------------------------------


def _files(source: Source, root: str | Path | None, download: bool) -> list[Path]:
    """Return the paths of a data set's files, each checked."""
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    if not chosen:
        raise ValueError(
            f"root must name the folder of the data sets, got none; give it or set the "
            f"environment variable {ROOT_VARIABLE}"
        )
    folder = Path(chosen).expanduser() / source.folder
    return [_checked(source, folder / name, download) for name in source.files]


def _checked(source: Source, path: Path, download: bool) -> Path:
    if not path.exists():
        if not download:
            raise FileNotFoundError(
                f"{path} must be there, and is not; get it from "
                f"{source.url}{path.name} or call with download=True"
            )
        _fetch(source.url + path.name, path)
    wanted, found = source.files[path.name], _md5(path)
    if found != wanted:
        raise ValueError(
            f"{path} must have the MD5 checksum {wanted}, got {found} "
            f"({path.stat().st_size:,} bytes): it is cut short or altered; delete it "
            "and call with download=True"
        )
    return path


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _fetch(url: str, path: Path) -> None:
    """Download a file; what an interrupted try had got is kept and continued."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            mode = "ab" if have and answer.status == 206 else "wb"
            expected = answer.headers.get("Content-Length")
            before = have if mode == "ab" else 0
            with part.open(mode) as stream:
                while chunk := answer.read(CHUNK):
                    stream.write(chunk)
        got = part.stat().st_size - before
        if expected is not None and got < int(expected):
            raise OSError(f"{got:,} of {int(expected):,} bytes came")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part is the whole file already
            raise _stopped(url, part, error) from error
    except OSError as error:
        raise _stopped(url, part, error) from error
    part.replace(path)


def _stopped(url: str, part: Path, error: Exception) -> OSError:
    return OSError(
        f"{url} could not be downloaded ({error}); what came is kept in {part}, and "
        "the same call goes on from there"
    )


# --- formats -------------------------------------------------------------------


def _pair_of_idx(images: Path, labels: Path) -> Task:
    pixels, classes = _read_idx(images), _read_idx(labels)
    flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
    return Task(inputs=flat, labels=classes.astype(int))


def _read_idx(path: Path) -> np.ndarray:
    """Return the unsigned bytes of a gzipped IDX file as an array."""
    content = gzip.decompress(path.read_bytes())
    zero, kind, axes = struct.unpack(">HBB", content[:4])
    if zero != 0 or kind != 8:
        raise ValueError(
            f"{path} must be an IDX file of unsigned bytes (its first bytes 0, 0, 8), "
            f"got {list(content[:3])}"
        )
    start = 4 + 4 * axes
    shape = struct.unpack(f">{axes}I", content[4:start])
    values = np.frombuffer(content, dtype=np.uint8, offset=start)
    if values.size != np.prod(shape):
        raise ValueError(
            f"{path} must hold {np.prod(shape)} values, as its head says, got "
            f"{values.size}"
        )
    return values.reshape(shape)


class _ArraysOnly(pickle.Unpickler):
    """Reads what CIFAR's pickles hold: numpy arrays, and nothing that runs code."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed class, refuse any other."""
        if (module, name) not in self.ALLOWED:
            raise ValueError(
                f"a CIFAR file must hold numpy arrays only, got {module}.{name}"
            )
        return super().find_class(module, name)


def _pickles(archive: Path, names: list[str]) -> list[dict[bytes, Any]]:
    records = []
    with tarfile.open(archive) as tar:
        for name in names:
            stream = tar.extractfile(name)
            if stream is None:
                raise ValueError(f"{archive} must hold the file {name}")
            records.append(_ArraysOnly(stream, encoding="bytes").load())
    return records


def _task_of(records: list[dict[bytes, Any]], key: bytes) -> Task:
    pixels = np.concatenate([np.asarray(record[b"data"]) for record in records])
    labels = np.concatenate([np.asarray(record[key]) for record in records])
    return Task(inputs=pixels.astype(np.float32) / 255, labels=labels.astype(int))
