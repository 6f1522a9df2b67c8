#!/bin/bash
# Seeds 0 to 4 of an experiment under SLURM, each a job of its own, which begins again where it was
# when it is preempted or its time is over:
#
#   sbatch --export=ALL,RUNS=/shared/runs jobs/slurm.sh speech --beta=0.2 --epochs=40
#
# For a GPU add `--gres=gpu:1` behind sbatch.

#SBATCH --job-name=rc-jax
#SBATCH --array=0-4
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
# SIGTERM to the command two minutes before the end: it saves, and ends with status 130.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log

experiment=${1:?"name an experiment: spotting, two_sequence, temporal_mnist or speech"}
shift
seed=$SLURM_ARRAY_TASK_ID
srun python -m "experiments.$experiment" --seed="$seed" --workdir="${RUNS:-runs}/$experiment/$seed" \
  --progress=false "$@"
status=$?
if [ $status -eq 130 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_$seed"
fi
exit $status
