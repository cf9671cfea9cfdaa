"""The suite's speed beside its peers and beside the machine's own limits, measured in one run.

    sizes ──> settings ──> contestants, interleaved ──> measurements.jsonl ──> tables, goals ──> figures, benchmark.md
              work.py     ours, peers_*, limits         journal.py             results.py        page.py

`python -m memo.benchmark FOLDER` measures without Hydra; `python -m experiments.benchmark` adds the sweep of Hydra jobs.
"""
