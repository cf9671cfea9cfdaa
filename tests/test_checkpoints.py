"""What is kept of a population in training, and who may go on with it."""

import json
import logging
import threading

import numpy as np
import pyarrow as pa
import pytest

from memo.config import ADDED
from memo.errors import Refusal
from memo.storage import checkpoints
from memo.storage.checkpoints import Unfinished, find
from memo.training.population import Layout, plan


@pytest.fixture
def group(trials):
    recipes = ({}, {"labels.kind": "random", "labels.fraction": 0.5}, {"stop_at_train_accuracy": None})
    return plan(trials({"seeds": 2}, *recipes))[0]


@pytest.fixture
def make(group, tmp_path):
    """Return a population of six trials, of two run folders, on disk below tmp_path."""

    def make(seconds=0.0, probes=("confidence",)):
        runs = {trial.id: tmp_path / f"run-{trial.seed}" for trial in group.trials}
        job = Unfinished(tmp_path / checkpoints.FOLDER, group, Layout(1, 3, 2), runs, probes, seconds)
        job.begin()
        return job

    return make


def tables(trials):
    ids = [trial.id for trial in trials]
    return {
        "trials": pa.table({"trial": ids, "widths": [[4, 4]] * len(ids)}),
        "curves": pa.table({"trial": np.repeat(ids, 3), "step": np.tile([0, 1, 2], len(ids))}),
        "confidence": pa.table({"trial": ids, "mean_confidence": [int(each, 16) / 16**16 for each in ids]}),
    }


ARRAYS = {
    "step": np.array(7),
    "state_000": np.random.default_rng(0).normal(size=(1, 3, 5)).astype(np.float32),
    "places": np.arange(3)[None],
    "measured": np.array([[[np.nan, 0.5, -0.0]]], np.float32),
    "state_001": np.array([[True, False, True]]),
}


def test_what_was_begun_is_found_as_it_was(make, group, tmp_path):
    begun = make()
    (found,) = find(begun.folder.parent, 1.0, [group.trials[2].id])
    assert found.population == begun.population == group
    assert (found.layout, found.probes, found.folder) == (begun.layout, begun.probes, begun.folder)
    assert {trial: run.resolve() for trial, run in found.runs.items()} == begun.runs
    assert make(probes=["confidence", "noise_samples"]).folder != begun.folder


def test_what_was_begun_before_a_key_came_is_found(make, group):
    record = make().folder / checkpoints.RECORD
    content = json.loads(record.read_text())
    for recipe in content["recipes"]:
        for name in ADDED:
            del recipe[name]
    record.write_text(json.dumps(content))
    (found,) = find(record.parent.parent, 1.0, [group.trials[0].id])
    assert found.population == group


@pytest.mark.parametrize("change", [{"protocol": -1}, {"jax": "0.0.1"}, {"torch": "1"}], ids=str)
def test_other_versions_do_not_go_on_with_it_and_say_so_to_those_who_want_it(make, group, change, caplog):
    record = make().folder / checkpoints.RECORD
    content = json.loads(record.read_text())
    content["made_by"] |= change
    record.write_text(json.dumps(content))
    assert find(record.parent.parent, 1.0, ["0" * 16]) == [] and caplog.text == ""
    assert find(record.parent.parent, 1.0, [group.trials[0].id]) == []
    ((name, value),) = change.items()
    assert f"another version ({name} {value})" in caplog.text and "kept until you delete it" in caplog.text
    assert record.exists()


def test_what_is_all_stored_is_cleared_whichever_version_left_it(make, group, monkeypatch):
    record = make().folder / checkpoints.RECORD
    record.write_text(record.read_text().replace('"protocol": ', '"protocol": -'))
    for lacking, stored, stays in (
        (set(), "0" * 16, True),
        ({"one"}, group.trials[0].id, True),
        (set(), group.trials[0].id, False),
    ):
        monkeypatch.setattr(Unfinished, "lacking", lambda left, lacking=lacking: lacking)
        checkpoints.clear(record.parent.parent, 1.0, [stored])
        assert record.exists() == stays


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "null", '{"made_by": null}', "made_by_alone"])
def test_a_damaged_record_is_named_and_kept(make, content, caplog):
    record = make().folder / checkpoints.RECORD
    whole = json.loads(record.read_text())
    record.write_text(content.replace("made_by_alone", json.dumps({"made_by": whole["made_by"]})))
    with caplog.at_level(logging.WARNING):
        assert find(record.parent.parent, 1.0, []) == []
    assert f"{record} cannot be read" in caplog.text and "kept until you delete it" in caplog.text
    assert record.exists()


@pytest.mark.parametrize("name", ["slabs", "trials", "curves", "confidence"])
def test_a_part_that_lacks_a_table_is_trained_again(make, name, caplog):
    job = make()
    job.add(0, tables(job.population.trials[:3]))
    (part,) = (job.folder / "parts").iterdir()
    (part / f"{name}.parquet").unlink()
    (part.parent / "000001 (copy)").mkdir()
    assert make().finished == set()
    assert "its networks start again" in caplog.text


def test_no_flip_of_a_bit_in_a_part_is_silent(make):
    job = make()
    job.add(0, tables(job.population.trials[:3]))
    generator, left = np.random.default_rng(0), make().tables()
    for path in sorted((job.folder / "parts").glob("*/*")):
        content = path.read_bytes()
        for bit in generator.choice(8 * len(content), 20, replace=False):
            path.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
            again = make()
            assert again.finished == set() or again.tables() == left
        path.write_bytes(content)
    (path.parent / checkpoints.DIGESTS).unlink()  # as earlier versions left them
    assert make().tables() == left


def test_work_is_found_whatever_command_began_it(make, tmp_path):
    begun = make()  # by a sweep: beside the run folders
    run = tmp_path / "run-0"
    run.mkdir()
    assert checkpoints.roots_of([run]) == [begun.folder.parent]
    inside = run / checkpoints.FOLDER  # by a command of one run
    inside.mkdir()
    assert set(checkpoints.roots_of([run, tmp_path / "run-1"])) == {begun.folder.parent, inside}


def test_a_crash_while_the_record_is_written_leaves_nothing_to_find(make):
    job = make()
    (job.folder / checkpoints.RECORD).unlink()
    assert find(job.folder.parent, 1.0, [trial.id for trial in job.population.trials]) == []
    job.add(0, tables(job.population.trials[:3]))
    (job.folder / checkpoints.RECORD).unlink(missing_ok=True)
    assert make().finished == set()  # nor is a half removed population taken for one that trains


def test_tables_come_back_by_slab_and_joined_in_the_order_of_the_trials(make):
    job = make(seconds=100.0)
    first, second = job.population.trials[:3], job.population.trials[3:]
    job.add(1, tables(second[::-1]))
    assert not (job.folder / "parts").exists()  # within seconds, not at once
    before = make()
    assert before.finished == set()
    before.add(1, tables(second[::-1]))
    after = make()
    assert after.finished == {1}
    after.add(0, tables(first))
    last = make()
    assert last.finished == {0, 1}
    for each in (after, last):
        assert each.tables() == tables(job.population.trials)


def test_arrays_come_back_bit_for_bit_and_only_the_last_is_kept(make):
    job = make()
    assert job.restore(3) is None
    for step in (7, 8, 9):
        job.keep(3, lambda step=step: ARRAYS | {"step": np.array(step)})
    assert [path.name for path in (job.folder / "slabs").iterdir()] == ["000003-000002"]
    again = make()
    kept = again.restore(3)
    assert kept.keys() == ARRAYS.keys()
    for name, array in (ARRAYS | {"step": np.array(9)}).items():
        assert (kept[name].dtype, kept[name].shape) == (array.dtype, array.shape)
        assert kept[name].tobytes() == array.tobytes()
    again.keep(3, lambda: ARRAYS)
    assert make().restore(3)["step"] == 7


def test_nothing_is_kept_before_its_time_but_when_training_stops(make):
    job = make(seconds=100.0)
    job.restore(0)
    job.keep(0, lambda: pytest.fail("too early"))
    job.keep(0, lambda: ARRAYS, now=True)
    assert make().restore(0)["step"] == 7


def test_half_a_checkpoint_is_as_none(make, caplog):
    job = make()
    job.restore(0)
    job.keep(0, lambda: ARRAYS)
    (kept,) = (job.folder / "slabs").iterdir()
    for path in kept.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        assert make().restore(0) is None
    assert f"{kept} cannot be read" in caplog.text


def test_a_finished_slab_needs_no_checkpoint(make):
    job = make()
    job.restore(0)
    job.keep(0, lambda: ARRAYS)
    job.add(0, tables(job.population.trials[:3]))
    assert make().restore(0) is None


def test_a_checkpoint_that_cannot_be_written_is_refused(make):
    job = make()
    job.restore(0)
    (job.folder / "slabs").write_text("in the way")
    with pytest.raises(Refusal, match=r"slabs.* cannot be written"):
        job.keep(0, lambda: ARRAYS)


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("FileLock")], ids=repr)
def test_a_file_system_without_locks_is_one_sentence(make, monkeypatch, error):
    def acquire(*_, **__):
        raise error

    monkeypatch.setattr(checkpoints.FileLock, "acquire", acquire)
    with pytest.raises(Refusal, match=r"\.lock cannot be locked \((No locks available|FileLock)\)"), make().open():
        pass


def test_one_process_at_a_time(make, caplog):
    job, other = make(), make()
    order, waiting = [], threading.Event()

    def second():
        with other.open():
            order.append("second")

    thread = threading.Thread(target=second)
    with caplog.at_level(logging.INFO), job.open():
        thread.start()
        while "waiting for it" not in caplog.text:
            waiting.wait(0.01)
        order.append("first")
        job.remove()
    thread.join()
    assert order == ["first", "second"]
    assert not job.folder.parent.exists()  # nothing is left behind
