#!/bin/bash
# One run on all workers of a TPU-VM pod slice, which goes on until it has ended: a signal, or the
# loss of another worker, begins it anew from the last checkpoint. On all workers at once:
#
#   gcloud compute tpus tpu-vm ssh SLICE --worker=all \
#     --command="cd rc-jax && RUNS=/shared/runs bash jobs/tpu_pod.sh speech --batch_size=4096"
#
# RUNS must outlive the slice: a mounted bucket or a network disk. After a preemption the same command
# on the next slice goes on.

experiment=${1:?"name an experiment: spotting, two_sequence, temporal_mnist or speech"}
shift
# 130: a signal, or a lost worker.
until python -m "experiments.$experiment" \
  --workdir="${RUNS:-runs}/$experiment" --progress=false "$@"; do
  status=$?
  if [ $status -ne 130 ]; then
    exit $status
  fi
  sleep "${PAUSE_SECONDS:-10}"
done
