"""Populations as tasks of a Slurm cluster, through submitit.

hydra.launcher ──planning──> tasks ──head──> sbatch array ── each: planning.Assignment, by memo.storage.sweep ──> run folders
"""
