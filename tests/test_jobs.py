"""The job files: what they run, and that a run which was stopped begins again."""

import os
import pathlib
import stat
import subprocess

import pytest
import yaml
from absl.testing import flagsaver

from experiments import speech
from experiments.harness import flags
from experiments.harness.flags import read_settings

JOBS = pathlib.Path(__file__).parents[1] / "jobs"


def read(command):
  """The settings of a command line of experiments.speech."""
  flags.FLAGS(["test"])
  assert command[:3] == ["python", "-m", "experiments.speech"]
  given = dict(word.removeprefix("--").split("=", 1) for word in command[3:])
  with flagsaver.as_parsed(**given):
    return read_settings(speech.EXPERIMENT)


def test_a_pod_is_one_seed_and_begins_again_only_where_that_helps():
  spec = yaml.safe_load((JOBS / "kubernetes.yaml").read_text())["spec"]
  (container,) = spec["template"]["spec"]["containers"]
  settings = read([word.replace("$(SEED)", "3") for word in container["command"]])
  assert settings.seed == 3 and settings.workdir == "/runs/speech/3"
  assert [variable["name"] for variable in container["env"]] == ["SEED"]
  mounted, volumes = container["volumeMounts"], spec["template"]["spec"]["volumes"]
  assert [volume["name"] for volume in volumes] == [place["name"] for place in mounted] == ["runs"]
  by_status = {
    status: rule["action"]
    for rule in spec["podFailurePolicy"]["rules"]
    for status in rule.get("onExitCodes", {}).get("values", ())
  }
  assert by_status == {130: "Ignore", 2: "FailJob"}
  assert spec["template"]["spec"]["restartPolicy"] == "Never"  # a failure policy wants it


@pytest.mark.parametrize(("status", "requeued"), [(0, ""), (2, ""), (130, "requeue 77_3\n")])
def test_slurm_begins_again_what_a_signal_has_stopped(tmp_path, status, requeued):
  """With an `srun` that writes its command down and ends with a status."""
  for name, line in (
    ("srun", f'printf "%s\\n" "$@" > ran; exit {status}'),
    ("scontrol", "echo $*"),
  ):
    (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
    (tmp_path / name).chmod(stat.S_IRWXU)
  environment = {
    "PATH": f"{tmp_path}:{os.environ['PATH']}",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_JOB_ID": "77",
    "RUNS": "/shared/my runs",
  }
  command = ["bash", str(JOBS / "slurm.sh"), "speech", "--beta=0.2", "--epochs=40"]
  done = subprocess.run(
    command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
  )
  assert (done.returncode, done.stdout, done.stderr) == (status, requeued, "")
  settings = read((tmp_path / "ran").read_text().splitlines())
  assert (settings.seed, settings.workdir) == (3, "/shared/my runs/speech/3")
  assert settings.betas == ((0.0, 0.2),) and settings.amount == 40


def test_slurm_wants_an_experiment(tmp_path):
  done = subprocess.run(
    ["bash", str(JOBS / "slurm.sh")], capture_output=True, text=True, check=False, cwd=tmp_path
  )
  assert done.returncode != 0 and "name an experiment: spotting" in done.stderr
