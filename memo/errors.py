"""Errors that commands report in one sentence, with a non-zero exit status."""


class Refusal(Exception):
    """An input, a file or a machine that the suite declines; the message is one sentence for its user."""


class DataError(Refusal):
    """A data set is unavailable; one message for the user."""
