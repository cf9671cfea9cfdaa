"""The experiments: a command each, `python -m experiments.<name>`; what two of them share lives in `memo`."""
