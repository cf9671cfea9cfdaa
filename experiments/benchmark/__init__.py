"""How fast is the suite beside PyTorch, torch.func.vmap, plain JAX, and the machine's own limits?

    python -m experiments.benchmark                 about 18 minutes on two cores
    python -m experiments.benchmark scale=quick     about a minute: the pipeline, not the finding
    python -m experiments.benchmark scale=paper     what a GPU deserves: large populations, the published workload

In one run and interleaved, at widths 16 to 2048; PyTorch is the extra [bench], and without it its rows are missing. An
interrupted run goes on where it stopped; another environment measures anew. `python -m experiments.benchmark.core` does
the same without Hydra. Expected: the ratios beside the goals in results/benchmark/tables/goals.csv.

    sizes ──> settings ──> contestants, interleaved ──> measurements.jsonl ──> tables, goals ──> drawings, analysis
              work         ours, peers_*, limits        journal
"""
