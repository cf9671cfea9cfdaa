"""Populations as tasks of a Slurm cluster, through submitit.

settings ──planning──> tasks ──head──> sbatch array ── each: planning.Work, as memo.sweep on one machine ──> run folders
"""
