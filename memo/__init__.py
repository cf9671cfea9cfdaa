"""Populations of MLPs on true and on randomised MNIST: what differs when a network memorises."""

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    # pandas is imported only by those who read tables: the core runs without it.
    if name == "load":
        from memo.store import load

        return load
    raise AttributeError(f"module 'memo' has no attribute {name!r}")
