"""Populations as tasks of a Slurm cluster, through submitit.

hydra.launcher ──planning──> tasks ──head──> sbatch array ── each: planning.Work, as memo.storage.sweep on one machine ──> run folders
"""
