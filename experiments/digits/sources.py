"""Who is quoted, and what the report calls the arms."""

TALK = "the talk, of its digit network"
BOOK = "Nielsen's book"
ARM_NAMES = {
    "nielsen": "Nielsen's recipe",
    "chosen": "well-chosen recipe",
    "shuffled": "shuffled labels",
    "relu": "ReLU, cross-entropy",
}
