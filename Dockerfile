# The commands of `experiments` and `deploy`, with the versions of requirements.lock:
#
#   docker build --tag rc-jax .                                       # --build-arg EXTRA=cuda: for GPUs
#   docker run --volume "$PWD/runs:/rc-jax/runs" rc-jax python -m experiments.spotting
FROM python:3.12-slim
ARG EXTRA=experiments
WORKDIR /rc-jax
COPY . .
RUN pip install --no-cache-dir --constraint requirements.lock --editable ".[experiments,deploy,demo,$EXTRA]"
