"""How fast is the suite beside PyTorch, torch.func.vmap, plain JAX, and the machine's own limits; what do commands cost?

    python -m experiments.benchmark                 about 100 minutes on two quiet cores, goes on where it was stopped
    python -m experiments.benchmark scale=quick     a minute or two: the pipeline, not the finding
    python -m experiments.benchmark scale=paper     what a GPU deserves: large populations, whole published workloads

Half an hour of that are populations of widths 16 to 2048, all contestants in turns; the rest are whole commands, which
`experiment.settings.commands=[]` leaves out and fewer `experiment.settings.repetitions` shorten. Whatever is measured so far is
drawn by `experiment.settings.redraw=true`. Another environment (versions, device, code) measures anew. PyTorch is the extra
[bench], and without it its rows are missing. Expected: the ratios beside the goals in results/benchmark/tables/goals.csv.

    settings ──> contestants (ours, peers_*), interleaved ──> measurements.jsonl ──> tables ──> drawings, analysis
                 commands                                     journal
    goals.yaml, published.yaml, commands.yaml: what is to be reached, what others have published, what is timed as a whole
"""
