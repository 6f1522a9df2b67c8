#!/bin/bash
# One run on several nodes under SLURM, a process on each, which begins again where it was when it is
# preempted or its time is over:
#
#   sbatch --nodes=4 --export=ALL,RUNS=/shared/runs jobs/slurm_one_run.sh speech --batch_size=512
#
# For the GPUs of the nodes add, e.g., `--gres=gpu:4 --ntasks-per-node=4` behind sbatch: under SLURM
# each process takes one of them.

#SBATCH --job-name=rc-jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
# SIGTERM to the processes two minutes before the end: they save, and end with status 130.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

experiment=${1:?"name an experiment: spotting, two_sequence, temporal_mnist or speech"}
shift
# The step is ended with its first process: the others would wait for it.
srun --kill-on-bad-exit=1 python -m "experiments.$experiment" \
  --workdir="${RUNS:-runs}/$experiment" --progress=false "$@"
status=$?
if [ $status -eq 130 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
