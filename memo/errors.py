"""What commands turn into a sentence and a non-zero exit."""


class Refusal(Exception):
    """An input, a file or a machine that the suite declines; the message is one sentence for its user."""


class DataError(Refusal):
    """A data set that cannot be had, in one message for its user."""
