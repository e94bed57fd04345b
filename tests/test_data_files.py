"""Loaders of image data, on tiny files in the real formats and a local server."""

import gzip
import hashlib
import http.server
import io
import pickle
import struct
import tarfile
import threading
from dataclasses import replace

import numpy as np
import pytest

from lossbook import data
from lossbook.data import _files


def idx(array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return gzip.compress(head + array.tobytes(), mtime=0)


def archive(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, record in members.items():
            content = pickle.dumps(record, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


RNG = np.random.default_rng(0)
IMAGES = RNG.integers(256, size=(5, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 0, 9, 3, 1], dtype=np.uint8)
PIXELS = RNG.integers(256, size=(4, 3072), dtype=np.uint8)


def mnist_files():
    return dict(
        zip(
            _files.MNIST.files,
            [idx(IMAGES), idx(LABELS), idx(IMAGES[:2]), idx(LABELS[:2])],
            strict=True,
        )
    )


def cifar10_files():
    members = {
        f"cifar-10-batches-py/data_batch_{i}": {
            b"data": PIXELS + np.uint8(i),
            b"labels": [i, 0, 1, 2],
        }
        for i in range(1, 6)
    }
    members["cifar-10-batches-py/test_batch"] = {b"data": PIXELS, b"labels": [9] * 4}
    return {"cifar-10-python.tar.gz": archive(members)}


META = {
    b"fine_label_names": [b"apple", b"bear", b"cod", b"pear"],
    b"coarse_label_names": [b"beasts", b"fish", b"fruits"],
}
LABELED = {b"fine_labels": [3, 1, 2, 0, 3], b"coarse_labels": [2, 0, 1, 2, 2]}


def small_cifar100(labeled=LABELED):
    """Four classes in three superclasses, in the format of CIFAR-100."""
    parts = {"cifar-100-python/meta": META, "cifar-100-python/train": labeled}
    return {"cifar-100-python.tar.gz": archive(parts)}


def cifar100_files():
    record = {
        b"data": PIXELS,
        b"fine_labels": [99, 1, 50, 0],
        b"coarse_labels": [13, 1, 2, 4],
    }
    parts = {"cifar-100-python/train": record, "cifar-100-python/test": record}
    return {"cifar-100-python.tar.gz": archive(parts)}


def placed(root, source, contents):
    """Put files where the loader looks; return the source with their checksums."""
    folder = root / source.folder
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return checked(source, contents)


def checked(source, contents, url="http://127.0.0.1:9/"):
    sums = {
        name: hashlib.md5(content).hexdigest() for name, content in contents.items()
    }
    return replace(source, url=url, files=sums)


@pytest.mark.parametrize("load", [data.mnist, data.fashion_mnist])
def test_idx_files_are_read(load, tmp_path):
    source = placed(tmp_path, _files.MNIST, mnist_files())
    train, test = load(tmp_path, source=source)
    np.testing.assert_array_equal(train.labels, LABELS)
    np.testing.assert_allclose(train.inputs * 255, IMAGES.reshape(5, -1), rtol=1e-6)
    assert train.inputs.dtype == np.float32
    assert len(test.labels) == 2


def test_cifar_batches_are_joined(tmp_path):
    source = placed(tmp_path, _files.CIFAR10, cifar10_files())
    train, test = data.cifar10(tmp_path, source=source)
    assert train.inputs.shape == (20, 3072)
    np.testing.assert_array_equal(train.labels[::4], [1, 2, 3, 4, 5])
    np.testing.assert_allclose(test.inputs * 255, PIXELS, rtol=1e-6)


def test_cifar100_knows_two_labels(tmp_path):
    source = placed(tmp_path, _files.CIFAR100, cifar100_files())
    fine, _ = data.cifar100(tmp_path, source=source)
    coarse, _ = data.cifar100(tmp_path, source=source, coarse=True)
    np.testing.assert_array_equal(fine.labels, [99, 1, 50, 0])
    np.testing.assert_array_equal(coarse.labels, [13, 1, 2, 4])


def test_cifar100_has_a_tree(tmp_path):
    source = placed(tmp_path, _files.CIFAR100, small_cifar100())
    tree = data.cifar100_hierarchy(tmp_path, source=source)
    assert tree.classes == ("apple", "bear", "cod", "pear")
    assert [tree.path(k)[1:] for k in range(4)] == [
        (above, "root") for above in ("fruits", "beasts", "fish", "fruits")
    ]


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [([0, 1, 2, 3, 3], [2, 0, 1, 2, 1]), ([0, 1, 2], [2, 0, 1])],
    ids=["in two", "in none"],
)
def test_a_class_in_no_superclass_or_two_is_refused(tmp_path, fine, coarse):
    labeled = {b"fine_labels": fine, b"coarse_labels": coarse}
    source = placed(tmp_path, _files.CIFAR100, small_cifar100(labeled))
    with pytest.raises(ValueError, match=r"each of the 4 classes .* in one super"):
        data.cifar100_hierarchy(tmp_path, source=source)


def test_the_root_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("LOSSBOOK_DATA", str(tmp_path))
    source = placed(tmp_path, _files.MNIST, mnist_files())
    assert len(data.mnist(source=source)[0].labels) == 5


def test_without_a_root_nothing_is_guessed(monkeypatch):
    monkeypatch.delenv("LOSSBOOK_DATA", raising=False)
    with pytest.raises(ValueError, match=r"root must name the folder .* LOSSBOOK_DATA"):
        data.mnist()


def test_nothing_is_downloaded_unasked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images.*call with download="):
        data.mnist(tmp_path)


def test_a_file_cut_short_is_refused_and_kept(tmp_path):
    source = placed(tmp_path, _files.MNIST, mnist_files())
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"must have the MD5 checksum .*cut short"):
        data.mnist(tmp_path, source=source)
    assert path.exists()


def test_a_head_that_promises_more_is_refused(tmp_path):
    contents = mnist_files()
    short = gzip.decompress(contents["train-labels-idx1-ubyte.gz"])[:-1]
    contents["train-labels-idx1-ubyte.gz"] = gzip.compress(short, mtime=0)
    source = placed(tmp_path, _files.MNIST, contents)
    with pytest.raises(ValueError, match=r"must hold 5 values, .*, got 4"):
        data.mnist(tmp_path, source=source)


def test_another_format_is_refused(tmp_path):
    contents = mnist_files()
    contents["train-images-idx3-ubyte.gz"] = gzip.compress(b"PNG, not IDX", mtime=0)
    source = placed(tmp_path, _files.MNIST, contents)
    with pytest.raises(ValueError, match=r"must be an IDX file of unsigned bytes"):
        data.mnist(tmp_path, source=source)


class Runs:
    """A pickle that would run code."""

    def __reduce__(self):
        return print, ("run",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, capsys):
    bad = archive({"cifar-100-python/train": Runs(), "cifar-100-python/test": {}})
    source = placed(tmp_path, _files.CIFAR100, {"cifar-100-python.tar.gz": bad})
    with pytest.raises(ValueError, match=r"must hold numpy arrays only, got .*print"):
        data.cifar100(tmp_path, source=source)
    assert capsys.readouterr().out == ""


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the files of its server; may break off, and can go on from a byte."""

    def do_GET(self):
        content = self.server.contents[self.path.lstrip("/")]
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        self.server.starts.append(start)
        if asked and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = self.server.breaks.pop(0) if self.server.breaks else len(content)
        self.wfile.write(content[start:stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.contents, made.breaks, made.starts = mnist_files(), [], []
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def served(server):
    address = f"http://127.0.0.1:{server.server_port}/"
    return checked(_files.MNIST, server.contents, address)


def test_a_download_is_checked_and_read(server, tmp_path):
    train, _ = data.mnist(tmp_path, download=True, source=served(server))
    np.testing.assert_array_equal(train.labels, LABELS)
    assert not list(tmp_path.rglob("*.part"))
    again, _ = data.mnist(tmp_path, source=served(server))
    np.testing.assert_array_equal(again.inputs, train.inputs)
    assert len(server.starts) == 4


def test_an_interrupted_download_goes_on(server, tmp_path):
    server.breaks = [1000]
    with pytest.raises(OSError, match=r"what came is kept in .* goes on from there"):
        data.mnist(tmp_path, download=True, source=served(server))
    data.mnist(tmp_path, download=True, source=served(server))
    assert server.starts[:2] == [0, 1000]


def test_a_part_that_is_the_whole_is_taken(server, tmp_path):
    name = "train-images-idx3-ubyte.gz"
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / f"{name}.part").write_bytes(server.contents[name])
    train, _ = data.mnist(tmp_path, download=True, source=served(server))
    assert len(train.labels) == 5


def test_no_answer_is_explained(tmp_path):
    source = checked(_files.MNIST, mnist_files())
    with pytest.raises(OSError, match=r"could not be downloaded"):
        data.mnist(tmp_path, download=True, source=source)
