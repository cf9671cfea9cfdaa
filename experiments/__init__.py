"""The experiments: one command each, `python -m experiments.<name>`; shared code is in `memo`."""
