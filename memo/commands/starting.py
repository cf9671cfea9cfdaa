"""The first moment of a command: signals, its output and other libraries' settings, before anything slow is imported."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = "Interrupted: finished networks are stored, and the same command resumes from there."
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def prepare() -> None:
    """Let this process end in a sentence when it is interrupted, print in any locale, and draw without a screen."""
    _handle(_exit)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # characters that the locale lacks are printed by their numbers
            stream.reconfigure(errors="backslashreplace")
    os.environ["MPLBACKEND"] = "agg"  # figures are files


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on each signal that asks this process to end, so that it keeps what it can."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    _handle(signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is signal.default_int_handler:
                signal.signal(number, handler)


def _handle(handler: object) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _exit):  # else nohup's, or a user's
            signal.signal(number, handler)  # type: ignore[arg-type]


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(1)
