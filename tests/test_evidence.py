"""What takes minutes and comes from no network is computed once, and anew when what it depends on has changed."""

import types

import numpy as np
import pandas as pd
import pytest

from memo.commands import evidence
from memo.commands.evidence import COMPUTED, Evidence


@pytest.fixture
def of(tmp_path, small_mnist):
    """Return what computes a table once, with a count of how often it was."""
    own = types.SimpleNamespace(folder=tmp_path, dataset=small_mnist)
    made = []

    def compute():
        made.append(len(made))
        return pd.DataFrame({"n": [2, 3], "error": [0.25, np.nan], "made": len(made)})

    return lambda asked, *modules: (Evidence.once(own, "errors", modules, asked, compute), made)


def test_it_is_computed_once(of, tmp_path):
    first, made = of({"counts": [2, 3]}, evidence)
    again, _ = of({"counts": [2, 3]}, evidence)
    pd.testing.assert_frame_equal(first, again)
    assert made == [0]
    assert len(list((tmp_path / "runs" / COMPUTED).iterdir())) == 1


def test_other_settings_or_other_code_compute_it_anew(of, monkeypatch):
    of({"counts": [2, 3]}, evidence)
    _, made = of({"counts": [2, 4]}, evidence)
    assert len(made) == 2
    monkeypatch.setattr(evidence.inspect, "getsource", lambda module: "changed")
    assert len(of({"counts": [2, 4]}, evidence)[1]) == 3


def test_a_damaged_table_is_computed_anew(of, tmp_path):
    of(1, evidence)
    (file,) = (tmp_path / "runs" / COMPUTED).iterdir()
    file.write_bytes(file.read_bytes()[:-20])
    found, made = of(1, evidence)
    assert len(made) == 2
    assert found["made"].tolist() == [2, 2]
