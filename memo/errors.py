"""The one exception that commands turn into a sentence and a non-zero exit."""


class Refusal(Exception):
    """An input, a file or a machine that the suite declines; the message is one sentence for its user."""
