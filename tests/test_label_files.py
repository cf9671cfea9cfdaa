"""A person's own labels: what is read, what is refused, and what networks are trained on."""

import jax
import numpy as np
import pytest

from memo.config import make_recipe, recipe_hash
from memo.data import label_files
from memo.errors import Refusal
from memo.training.inputs import TrainingData
from memo.training.population import signature


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMO_CACHE", str(tmp_path / "cache"))
    label_files._kept.cache_clear()


def written(folder, content, name="labels.csv"):
    path = folder / name
    if isinstance(content, str):
        path.write_text(content)
    else:
        np.save(path, content)
    return str(path)


def test_rows_replace_the_labels_of_their_images_alone(tmp_path):
    true = np.arange(60_000) % 10
    name = label_files.keep(written(tmp_path, "index,label\n5,0\n7, 3\n"), "mnist")
    found = label_files.load(name, true)
    assert np.flatnonzero(found != true).tolist() == [5, 7]
    assert found[[5, 7]].tolist() == [0, 3]
    assert label_files.keep(name, "mnist") == name


def test_the_same_labels_are_the_same_however_they_are_written(tmp_path):
    labels = np.random.default_rng(0).integers(0, 10, 60_000)
    files = [
        written(tmp_path, "\n".join(map(str, labels))),
        written(tmp_path, "label\n" + "\n".join(map(str, labels)) + "\n", "heading.csv"),
        written(tmp_path, labels, "labels.npy"),
        written(tmp_path, np.stack([np.arange(60_000), labels], axis=1)[::-1], "rows.npy"),
    ]
    assert len({label_files.keep(file, "mnist") for file in files}) == 1
    assert label_files.keep(files[0], "fashion_mnist") != label_files.keep(files[0], "mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("index,label\n60000,1\n", "the index 60000, and mnist's training images are 0 to 59999"),
        ("-1,1\n", "the index -1"),
        ("index,label\n3,10\n", "the label 10, and mnist's classes are 0 to 9"),
        ("3,1\n4,1\n3,2\n", "the index 3 stands twice"),
        ("1\n2\n3\n", "3 labels without an index, and mnist has 60000 training images"),
        ("3,one\n", "cannot be read as whole numbers"),
        ("3,1\n4\n", "cannot be read as whole numbers"),
        ("", "allowed are rows of an index and a label"),
        ("1,2,3\n", "allowed are rows of an index and a label"),
        (np.zeros(3), "allowed are rows"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path, content, message):
    file = written(tmp_path, content, "labels.csv" if isinstance(content, str) else "labels.npy")
    with pytest.raises(Refusal, match=message) as refusal:
        make_recipe({"labels.file": file})
    assert str(refusal.value).startswith(f"labels.file is {file}; ")


def test_a_missing_file_and_a_lost_hash_are_refused(tmp_path):
    with pytest.raises(Refusal, match="cannot be read \\(No such file"):
        make_recipe({"labels.file": str(tmp_path / "none.csv")})
    with pytest.raises(Refusal, match="name the file itself"):
        label_files.load("0123456789abcdef", np.zeros(3))


def test_a_file_that_has_changed_is_another_recipe(tmp_path):
    one = make_recipe({"labels.file": written(tmp_path, "0,1\n")})
    other = make_recipe({"labels.file": written(tmp_path, "0,1\n1,2\n")})
    assert recipe_hash(one) != recipe_hash(other)
    assert make_recipe({"labels.file": one.labels.file}) == one


def test_networks_are_trained_on_them_and_treatments_start_from_them(tmp_path, trials, mnist):
    labels = (mnist.train_labels + 1) % 10
    settings = {"labels.file": written(tmp_path, labels, "labels.npy"), "dataset.subset_seed": 0}
    [own] = trials(settings)
    data = TrainingData(signature(own), mnist)
    rows, given = data.given(own)
    np.testing.assert_array_equal(given, labels[rows])
    [redrawn] = trials(settings | {"labels.kind": "random", "labels.fraction": 0.2})
    changed = data.given(redrawn)[1] != given
    assert 0.08 < changed.mean() < 0.3


@pytest.mark.parametrize(("kind", "fraction", "share"), [("true", 0, 1.0), ("fresh", 0.5, 0.95), ("fresh", 1.0, 0.9)])
def test_a_wrong_label_that_is_redrawn_when_presented_is_counted_once(tmp_path, trials, mnist, kind, fraction, share):
    labels = (mnist.train_labels + 1) % 10  # all wrong
    settings = {"labels.file": written(tmp_path, labels, "labels.npy"), "labels.kind": kind, "dataset.n_train": 200}
    [trial] = trials(settings | {"labels.fraction": fraction})
    slab = TrainingData(signature(trial), mnist).slab([[trial]], jax.devices()[0])
    assert slab.labels_changed[0, 0] == pytest.approx(share)  # as it is, or one of ten classes, of which one is true
