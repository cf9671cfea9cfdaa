"""What every chapter reads, and whose words it takes."""

from memo.evidence import Chapter, Evidence, Row, paired

__all__ = ["ARM_NAMES", "BOOK", "TALK", "Chapter", "Evidence", "Row", "paired"]

TALK = "the talk, of its digit network"
BOOK = "Nielsen's book"
ARM_NAMES = {
    "nielsen": "Nielsen's recipe",
    "chosen": "well-chosen recipe",
    "shuffled": "shuffled labels",
    "relu": "ReLU, cross-entropy",
}
