"""The commands: `python -m experiments.<name>`."""

import sys

from memo.commands import starting

if sys.argv[0] == "-m":  # while Python looks for the command to run
    starting.prepare()
