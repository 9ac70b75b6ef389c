"""Slurm as the engine: jobs by ``sbatch``, their status by ``squeue``, and what it has by ``sinfo``.

Only the text output of Slurm's commands is used: it is nearly the same from 20.11 to 26.05, which their JSON
is not. They are called as the user of this pool manager, with the configuration of Slurm that this user's commands
have.
"""
