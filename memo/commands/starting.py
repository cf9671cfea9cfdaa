"""The first moment of a command: signals, its output and other libraries' settings, before anything slow is imported."""

import logging
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import NoReturn

INTERRUPTED = "Interrupted: finished networks are stored, and the same command resumes from there."
UNREAD = 128 + signal.SIGPIPE  # the status of a command that this signal ends, as a shell has it
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def prepare() -> None:
    """Let this process end in a sentence when it is interrupted, print in any locale, and draw without a screen."""
    _handle(_exit)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # characters that the locale lacks are printed by their numbers
            stream.reconfigure(errors="backslashreplace")
    os.environ["MPLBACKEND"] = "agg"  # figures are files
    sys.excepthook = _say


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


@contextmanager
def quiet_when_unread() -> Iterator[None]:
    """End without a word where nobody reads any longer what the block prints, as behind `| head`."""
    told, logging.raiseExceptions = logging.raiseExceptions, False  # else each line of the log is an error of its own
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _unread():  # another pipe
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
        raise SystemExit(UNREAD) from None
    finally:
        logging.raiseExceptions = told


def _unread() -> bool:
    """Return whether this process prints into a pipe that nobody reads any longer."""
    watched = select.poll()
    try:
        watched.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # it prints into no file
        return False
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in watched.poll(0))


def _handle(handler: object) -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, _exit):  # else nohup's, or a user's
            signal.signal(number, handler)  # type: ignore[arg-type]


def leave() -> NoReturn:
    """End an interrupted process with its sentence, and at once: further signals and unfinished threads have no say.

    A thread that computes while Python shuts down would end the process by an abort.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    logging.shutdown()
    with suppress(OSError, ValueError):  # closed, or unread
        sys.stdout.flush()
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(1)


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nothing caught: what JAX says, when it is imported, of a variable that it cannot read as one sentence."""
    if kind is ValueError and str(error).startswith("invalid truth value"):
        print(f"Refused: {error}; allowed are true and false.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _exit(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(1)
