import errno
import hashlib
import json
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import memo
from memo.config import ADDED
from memo.errors import Refusal
from memo.storage import run_folders
from memo.storage.run_folders import Tables
from memo.storage.tables import as_table
from tests import simulated

# In the order in which `write` replaces them.
ORDER = ("curves", "confidence", "trials")
PROVENANCE = {"networks": 1, "train_seconds": 0.5}
# Root may write anywhere but below what is not a folder.
UNWRITABLE = Path("/proc/version/run")


def tables(*ids, offset=0.0, probes=("confidence",)):
    """Return the tables of one network for each id, as `memo.storage.sweep` makes them; `offset` tells two writings apart."""
    rows = np.arange(len(ids))
    trials = pd.DataFrame(
        {
            "trial": ids,
            "seed": rows,
            "status": "completed",
            "labels.kind": "true",
            "model.widths": [[64, 32]] * len(ids),
            "dataset.n_train": [None] * len(ids),
            "dataset.n_test": 100,
            "stop_at_train_accuracy": 1.0,
            "final_train_loss": rows + 0.1 + offset,
            "probes": [list(probes)] * len(ids),
        }
    )
    curves = pd.DataFrame(
        {
            "trial": np.repeat(ids, 3),
            "step": np.tile([0, 1, 5], len(ids)),
            "train_loss": offset + np.arange(3 * len(ids)),
        }
    )
    measured = pd.DataFrame(
        {
            "trial": np.repeat(ids, 2),
            "inputs": ["test", "uniform"] * len(ids),
            "mean_confidence": np.float32(1 / 3) + offset,
            "histogram": [np.array([1, 2, place]) for place in range(2 * len(ids))],
        }
    )
    return {"trials": trials, "curves": curves, **({"confidence": measured} if probes else {})}


def write(folder, frames, provenance):
    run_folders.write(folder, {name: as_table(frame) for name, frame in frames.items()}, provenance)


def same(one, other):
    assert list(one) == list(other)
    for name in one:
        pd.testing.assert_frame_equal(one[name], other[name], check_exact=True)


def of(found, *ids):
    """Return the rows of some trials, numbered anew."""
    return {name: frame[frame["trial"].isin(ids)].reset_index(drop=True) for name, frame in found.items()}


def files(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"networks"', "\x00\xff"])
def test_damaged_provenance_is_said_and_costs_nothing_else(tmp_path, caplog, content):
    write(tmp_path, tables("a"), PROVENANCE)
    (tmp_path / run_folders.PROVENANCE).write_text(content)
    write(tmp_path, tables("b"), PROVENANCE)
    assert "provenance.json is damaged" in caplog.text
    assert sorted(memo.load(tmp_path).trials["trial"]) == ["a", "b"]
    assert len(run_folders.provenance(tmp_path)) == 1


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path):
    write(tmp_path, tables("a"), PROVENANCE)
    stray, others = tmp_path / ".curves.parquet.0123456789ab", tmp_path / ".mine.txt"
    for path in (stray, others):
        path.touch()
    write(tmp_path, tables("b"), PROVENANCE)
    assert not stray.exists() and others.exists()


def test_a_selection_that_compares_missing_values_selects_none_of_them(tmp_path):
    own = tables("a", "b")
    own["trials"]["dataset.n_train"] = [None, 500]
    write(tmp_path, own, PROVENANCE)
    small = memo.load(tmp_path, lambda trials: trials["dataset.n_train"] <= 3000, tables="curves")
    assert small.trials["trial"].tolist() == ["b"] and set(small) == {"trials", "curves"}
    assert len(memo.load(tmp_path, lambda trials: np.array([True, False])).trials) == 1


def test_round_trip(tmp_path):
    written = tables("a", "b")
    write(tmp_path, written, PROVENANCE)
    found = memo.load(tmp_path)
    assert set(found) == {"trials", "curves", "confidence"}
    assert found.trials["model.widths"].tolist() == [(64, 32)] * 2
    assert found.trials["probes"].tolist() == [("confidence",)] * 2
    assert found.trials.groupby("model.widths")["seed"].count().to_dict() == {(64, 32): 2}
    assert found.trials["dataset.n_train"].isna().all()
    same({"curves": found.curves}, {"curves": written["curves"]})
    pd.testing.assert_frame_equal(
        found.confidence.drop(columns="histogram"), written["confidence"].drop(columns="histogram")
    )
    assert [list(counts) for counts in found.confidence["histogram"]] == [[1, 2, place] for place in range(4)]
    assert set(files(tmp_path)) == {
        *(f"{name}.parquet" for name in ORDER),
        "provenance.json",
        "done.json",
        run_folders.LOCK,
    }
    assert run_folders.provenance(tmp_path) == [{**PROVENANCE, "earlier": []}]


def test_keys_that_came_later_have_the_value_that_earlier_trials_were_trained_with(tmp_path):
    write(tmp_path / "earlier", tables("a"), PROVENANCE)
    assert memo.load(tmp_path).trials[list(ADDED)].iloc[0].dropna().to_dict() == {
        name: value for name, value in ADDED.items() if value is not None
    }
    later = tables("b")
    later["trials"] = later["trials"].assign(
        **{"spacing": "epochs", "regularization.dropout": 0.5, "model.receptive_field": 7}
    )
    write(tmp_path / "later", later, PROVENANCE)
    rows = memo.load(tmp_path).trials.set_index("trial")
    assert rows["spacing"].to_dict() == {"a": "log", "b": "epochs"}
    assert rows["regularization.dropout"].to_dict() == {"a": 0, "b": 0.5}
    assert rows["regularization.input_noise"].to_dict() == {"a": 0, "b": 0}
    assert rows["model.receptive_field"].isna().to_dict() == {"a": True, "b": False}
    assert rows["model.receptive_field"]["b"] == 7


def test_widths_of_a_network_without_hidden_layers(tmp_path):
    written = tables("a")
    written["trials"]["model.widths"] = [[]]
    write(tmp_path, written, PROVENANCE)
    assert memo.load(tmp_path).trials["model.widths"].tolist() == [()]


def test_tables_are_attributes():
    found = Tables(trials=pd.DataFrame({"seed": [1]}))
    assert found.trials is found["trials"]
    with pytest.raises(AttributeError, match=r"no table 'curvs'; there are trials"):
        _ = found.curvs
    assert not hasattr(found, "confidence")
    same(pickle.loads(pickle.dumps(found)), found)


def test_load_reads_a_tree_and_a_duplicated_trial_once(tmp_path):
    write(tmp_path / "1", tables("a", "b"), PROVENANCE)
    write(tmp_path / "deeper" / "2", tables("b", "c", offset=100.0), PROVENANCE)
    found = memo.load(tmp_path)
    assert found.trials["trial"].tolist() == ["a", "b", "c"]
    for frame in (found.curves, found.confidence):
        assert frame.groupby("trial").size().nunique() == 1
    # All of b comes from one folder, whichever that is.
    same(of(found, "b"), of(memo.load(tmp_path / "1"), "b"))
    same(of(found, "c"), of(memo.load(tmp_path / "deeper"), "c"))
    assert len(run_folders.provenance(tmp_path)) == 2


def test_load_selects_trials(tmp_path):
    write(tmp_path / "1", tables("a", "b"), PROVENANCE)
    write(tmp_path / "2", tables("b", offset=100.0), PROVENANCE)
    found = memo.load(str(tmp_path), lambda trials: trials["trial"] == "b")
    assert {name: set(frame["trial"]) for name, frame in found.items()} == {name: {"b"} for name in found}
    assert len(found.trials) == 1
    with pytest.raises(Refusal, match=r"No trial .* is selected"):
        memo.load(tmp_path, lambda trials: trials["seed"] > 9)


def test_load_reads_the_tables_that_are_named(tmp_path):
    write(tmp_path, tables("a", "b"), PROVENANCE)
    assert set(memo.load(tmp_path, tables=())) == {"trials"}
    assert set(memo.load(tmp_path, tables=("curves",))) == {"trials", "curves"}


def test_parts_take_the_name_of_one_table_as_load_does(tmp_path):
    write(tmp_path, tables("a"), PROVENANCE)
    for found in (memo.load(tmp_path, tables="confidence"), *run_folders.parts(tmp_path, tables="confidence")):
        assert list(found) == ["trials", "confidence"]
    # No table but the one named: "confidence" is part of a longer name, too.
    (found,) = run_folders.parts(tmp_path, tables="confidence_along")
    assert list(found) == ["trials"]


def test_parts_hold_together_what_load_returns(tmp_path):
    for number in range(7):
        # Each folder repeats a trial of the one before, in another part.
        write(tmp_path / str(number), tables(f"t{number}", f"t{number + 1}", offset=number), PROVENANCE)
    for select in (None, lambda trials: trials["trial"] != "t3"):
        whole = run_folders.load(tmp_path, select)
        parts = list(run_folders.parts(tmp_path, select, folders=2))
        assert len(parts) == 4
        for name, frame in whole.items():
            pd.testing.assert_frame_equal(pd.concat([part[name] for part in parts], ignore_index=True), frame)
    assert [*run_folders.parts(tmp_path, lambda trials: trials["trial"] == "nowhere")] == []


@pytest.mark.slow
def test_a_simulated_sweep_reads_as_one_that_was_trained(tmp_path):
    simulated.write(tmp_path, 2 * simulated.SEEDS)
    found = memo.load(tmp_path)
    asked = {trial.id for trials in simulated.recipes(2) for trial in trials}
    assert set(found.trials["trial"]) == set(found.curves["trial"]) == set(found.confidence["trial"]) == asked
    assert all(session["simulated"] for session in run_folders.provenance(tmp_path))


def test_load_ignores_a_folder_that_is_not_done(tmp_path):
    for name in ("1", "2"):
        write(tmp_path / name, tables(name), PROVENANCE)
    (tmp_path / "2" / "done.json").unlink()
    assert memo.load(tmp_path).trials["trial"].tolist() == ["1"]
    run_folders.make_ready(tmp_path / "2")
    assert memo.load(tmp_path).trials["trial"].tolist() == ["1", "2"]


def test_rows_of_trials_not_listed_yet_are_ignored(tmp_path):
    write(tmp_path, tables("a"), PROVENANCE)
    before = memo.load(tmp_path)
    (tmp_path / "done.json").write_text('{"trials": 1}')  # as older versions wrote it
    both = tables("a", "b")["curves"]
    both.to_parquet(tmp_path / "curves.parquet", index=False)
    same(memo.load(tmp_path), before)


def test_finished_respects_probes(tmp_path):
    assert run_folders.finished(tmp_path / "nowhere", []) == set()
    write(tmp_path, tables("a"), PROVENANCE)
    write(tmp_path, tables("b", probes=()), PROVENANCE)
    assert run_folders.finished(tmp_path, []) == {"a", "b"}
    assert run_folders.finished(tmp_path, ["confidence"]) == {"a"}
    assert run_folders.finished(tmp_path, ["confidence", "noise_samples"]) == set()


def test_extending_keeps_old_rows_bit_for_bit(tmp_path):
    write(tmp_path, tables("a", "b"), PROVENANCE)
    before = memo.load(tmp_path)
    write(tmp_path, tables("c", "d", offset=0.7), PROVENANCE | {"networks": 2})
    after = memo.load(tmp_path)
    assert after.trials["trial"].tolist() == ["a", "b", "c", "d"]
    same(of(after, "a", "b"), before)
    mark = json.loads((tmp_path / "done.json").read_text())
    assert mark["trials"] == 4
    assert mark["tables"] == {
        f"{name}.parquet": [hashlib.sha256((tmp_path / f"{name}.parquet").read_bytes()).hexdigest()] for name in ORDER
    }
    assert [session["networks"] for session in run_folders.provenance(tmp_path)] == [2, 1]


def _write_trials(folder, names):
    for name in names:
        write(folder, tables(name), PROVENANCE)


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(tmp_path):
    names = [[f"{process}-{number}" for number in range(6)] for process in range(4)]
    context = multiprocessing.get_context("forkserver")
    writers = [context.Process(target=_write_trials, args=(tmp_path, own)) for own in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    found = memo.load(tmp_path)
    assert sorted(found.trials["trial"]) == sorted(name for own in names for name in own)
    assert set(found.curves["trial"]) == set(found.trials["trial"])


def test_writing_a_trial_again_replaces_its_rows(tmp_path):
    write(tmp_path, tables("a", "b"), PROVENANCE)
    write(tmp_path, tables("a", offset=5.0), PROVENANCE)
    found = memo.load(tmp_path)
    assert sorted(found.trials["trial"]) == ["a", "b"]
    assert found.curves.groupby("trial").size().to_dict() == {"a": 3, "b": 3}
    assert found.curves[found.curves["trial"] == "a"]["train_loss"].tolist() == [5, 6, 7]


@pytest.mark.parametrize("extending", [True, False], ids=["second write", "first write"])
@pytest.mark.parametrize("failing", ORDER)
def test_a_full_disk_leaves_the_earlier_state(tmp_path, tmp_path_factory, monkeypatch, failing, extending):
    if extending:
        write(tmp_path, tables("a", "b"), PROVENANCE)
        before = memo.load(tmp_path)
    write_table = pq.write_table

    def on_a_full_disk(table, path, **options):
        write_table(table, path, **options)
        if f".{failing}.parquet" in path.name:
            path.write_bytes(path.read_bytes()[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", on_a_full_disk)
        with pytest.raises(Refusal, match=rf"{failing}\.parquet cannot be written: No space left on device"):
            write(tmp_path, tables("c"), PROVENANCE)
    assert not [path.name for path in tmp_path.rglob(".*") if path.name != run_folders.LOCK]
    if extending:
        same(memo.load(tmp_path), before)
        assert run_folders.finished(tmp_path, ["confidence"]) == {"a", "b"}
    else:
        assert run_folders.finished(tmp_path, []) == set()
        with pytest.raises(Refusal, match="no finished run"):
            memo.load(tmp_path)

    clean = tmp_path_factory.mktemp("clean")
    for folder in (tmp_path, clean):
        write(folder, tables("c"), PROVENANCE)
    after = memo.load(tmp_path)
    assert sorted(after.trials["trial"]) == (["a", "b", "c"] if extending else ["c"])
    same(of(after, "c"), memo.load(clean))


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_replacing_is_atomic(tmp_path, error):
    target = tmp_path / "new" / "file"
    with run_folders.replacing(target) as path:
        assert path.parent == target.parent  # a rename between file systems is a copy
        path.write_text("old")
        assert not target.exists()
    assert target.read_text() == "old"
    with pytest.raises(type(error)), run_folders.replacing(target) as path:
        path.write_text("half")
        raise error
    assert files(tmp_path) == {"file": b"old"}
    with run_folders.replacing(target) as path:
        path.write_text("new")
        assert target.read_text() == "old"
    assert files(tmp_path) == {"file": b"new"}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (UNWRITABLE, tmp_path / "file" / "run", tmp_path / "file"):
        with pytest.raises(Refusal, match=f"{folder}.* cannot be written: "):
            run_folders.require_writable(folder)
        with pytest.raises(Refusal, match=f"{folder}.* cannot be written: "):
            write(folder, tables("a"), PROVENANCE)
    assert files(tmp_path) == {"file": b""}


def test_asking_whether_a_folder_can_be_written_leaves_nothing(tmp_path):
    run_folders.require_writable(tmp_path / "not" / "yet")
    run_folders.require_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-1],
    "start flipped": lambda content: flipped(content, 40),
    "middle flipped": lambda content: flipped(content, len(content) // 2),
    "gone": None,
}


@pytest.mark.parametrize("name", [f"{name}.parquet" for name in ORDER])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_refused_by_name_and_its_trials_are_trained_again(tmp_path, caplog, name, damage):
    write(tmp_path, tables("a"), PROVENANCE)
    if damage == "gone":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(DAMAGES[damage]((tmp_path / name).read_bytes()))
    with pytest.raises(Refusal, match=f"{tmp_path / name} is not a readable table"):
        memo.load(tmp_path)
    assert run_folders.finished(tmp_path, []) == set()
    assert ("is not a readable table" in caplog.text) or not (tmp_path / "trials.parquet").exists()
    write(tmp_path, tables("a", offset=2.0), PROVENANCE)
    assert memo.load(tmp_path).curves["train_loss"].min() == 2
    assert run_folders.finished(tmp_path, ["confidence"]) == {"a"}


@pytest.mark.parametrize("column", ["trial", "seed", "status", "probes", "model.widths", "dataset.n_train"])
def test_trials_without_a_column_are_no_readable_table(tmp_path, caplog, column):
    """Also where a mark has no digests, which would notice it sooner."""
    write(tmp_path, tables("a"), PROVENANCE)
    path = tmp_path / "trials.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    (tmp_path / "done.json").write_text('{"trials": 1}')
    with pytest.raises(Refusal, match=f"trials.parquet is not a readable table .it has no column {column}"):
        memo.load(tmp_path)
    assert run_folders.finished(tmp_path, []) == set()
    assert f"has no column {column}" in caplog.text


def test_no_flip_of_a_bit_is_silent(tmp_path):
    write(tmp_path, tables("a", "b"), PROVENANCE)
    generator, whole = np.random.default_rng(0), memo.load(tmp_path)
    for path in sorted(tmp_path.glob("*.parquet")):
        content = path.read_bytes()
        for place, bit in enumerate(generator.choice(8 * len(content), 200, replace=False)):
            path.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
            assert run_folders.finished(tmp_path, []) == set()
            if place % 40 == 0:  # takes a hundred times as long
                with pytest.raises(Refusal, match=f"{path} is not a readable table"):
                    memo.load(tmp_path)
        path.write_bytes(content)
    same(memo.load(tmp_path), whole)


def test_a_damaged_mark_is_noticed(tmp_path, caplog):
    write(tmp_path, tables("a"), PROVENANCE)
    mark = (tmp_path / "done.json").read_bytes()
    for content in (b"", b"[]", b"1", mark[: len(mark) // 2], mark.replace(b"trials.parquet", b"trials.parquat")):
        (tmp_path / "done.json").write_bytes(content)
        assert run_folders.finished(tmp_path, []) == set()
        with pytest.raises(Refusal, match="is damaged"):
            memo.load(tmp_path)


@pytest.mark.parametrize("mark", ["of today", "of older versions", "that lacks a table"])
@pytest.mark.parametrize("kept", range(6))
def test_a_crash_between_replacements_damages_nothing(tmp_path, monkeypatch, kept, mark):
    write(tmp_path, tables("a", probes=() if mark == "that lacks a table" else ("confidence",)), PROVENANCE)
    if mark == "of older versions":
        (tmp_path / "done.json").write_text('{"trials": 1}')
    before, replaced, replace = memo.load(tmp_path), [], os.replace

    def dying(source, target):
        if len(replaced) == kept:
            raise KeyboardInterrupt
        replaced.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, tables("b"), PROVENANCE)
    assert len(replaced) == kept
    assert "a" in run_folders.finished(tmp_path, [])
    found = of(memo.load(tmp_path), "a")
    assert all(found[name].empty for name in found.keys() - before)
    same({name: found[name] for name in before}, before)
    write(tmp_path, tables("b"), PROVENANCE)
    assert run_folders.finished(tmp_path, []) == {"a", "b"}
    assert {len(digests) for digests in json.loads((tmp_path / "done.json").read_text())["tables"].values()} == {1}


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("writings", [1, 2])
def test_a_folder_written_while_it_is_read_is_not_damaged(tmp_path, monkeypatch, caplog, at, writings):
    write(tmp_path, tables("a", offset=1.0), PROVENANCE)
    content, read, written = run_folders._content, [], []

    def meanwhile(path, digests=()):
        """Read a table, after another process has written the folder between this reader's mark and its table."""
        if written or len(read) < at:
            read.append(path.name)
            return content(path, digests)
        written.append(path.name)
        for number in range(writings):
            write(tmp_path, tables("a", "b", offset=2.0 + number), PROVENANCE)
        return content(path, digests)

    monkeypatch.setattr(run_folders, "READERS", 1)
    monkeypatch.setattr(run_folders, "_content", meanwhile)
    found = memo.load(tmp_path)
    assert len(written) == 1
    assert found.curves[found.curves["trial"] == "a"]["train_loss"].iloc[0] in (1.0, 1.0 + writings)
    assert set(found.trials["trial"]) == ({"a", "b"} if at == 0 else {"a"})
    read.clear(), written.clear()
    assert "a" in run_folders.finished(tmp_path, ["confidence"])
    assert len(written) == 1 and not caplog.records


def test_a_table_changed_by_no_writer_is_damaged_however_often_it_is_read(tmp_path):
    write(tmp_path, tables("a"), PROVENANCE)
    path = tmp_path / "curves.parquet"
    path.write_bytes(flipped(path.read_bytes(), 100))
    with pytest.raises(Refusal, match=r"curves\.parquet is not a readable table \(not what was written\)"):
        memo.load(tmp_path)
    assert run_folders.finished(tmp_path, []) == set()


def test_folders_behind_links_are_read_once_and_foreign_tables_never(tmp_path):
    write(tmp_path / "elsewhere" / "1", tables("a"), PROVENANCE)
    write(tmp_path / "sweep" / "2", tables("b"), PROVENANCE)
    (tmp_path / "sweep" / "1").symlink_to(tmp_path / "elsewhere" / "1")
    (tmp_path / "sweep" / "again").symlink_to(tmp_path / "elsewhere" / "1")
    (tmp_path / "sweep" / "2" / "up").symlink_to(tmp_path / "sweep")
    (tmp_path / "sweep" / "2" / "notes.parquet").write_bytes(b"a colleague's")
    found = memo.load(tmp_path / "sweep")
    assert sorted(found.trials["trial"]) == ["a", "b"]
    assert set(found) == {"trials", "curves", "confidence"}
    assert len(run_folders.provenance(tmp_path / "sweep")) == 2


def test_a_place_without_runs_is_refused(tmp_path):
    for path, reason in ((tmp_path, f"no finished run below {tmp_path}"), (tmp_path / "missing", "is not a folder")):
        with pytest.raises(Refusal, match=reason):
            memo.load(path)
        assert run_folders.provenance(path) == []
