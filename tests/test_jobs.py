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


@pytest.mark.parametrize(
  ("name", "variable"), [("kubernetes.yaml", "SEED"), ("kubernetes_one_run.yaml", "INDEX")]
)
def test_a_pod_begins_again_only_where_that_helps(name, variable):
  *_, job = yaml.safe_load_all((JOBS / name).read_text())
  spec = job["spec"]
  (container,) = spec["template"]["spec"]["containers"]
  assert [given["name"] for given in container["env"]] == [variable]
  mounted, volumes = container["volumeMounts"], spec["template"]["spec"]["volumes"]
  assert [volume["name"] for volume in volumes] == [place["name"] for place in mounted] == ["runs"]
  by_status = {
    status: rule["action"]
    for rule in spec["podFailurePolicy"]["rules"]
    for status in rule.get("onExitCodes", {}).get("values", ())
  }
  assert by_status == {130: "Ignore", 2: "FailJob"}
  assert spec["template"]["spec"]["restartPolicy"] == "Never"  # a failure policy wants it
  settings = read([word.replace(f"$({variable})", "3") for word in container["command"]])
  assert settings.workdir == ("/runs/speech/3" if variable == "SEED" else "/runs/speech")
  assert settings.flags["seed" if variable == "SEED" else "process_id"] == 3


def test_the_pods_of_one_run_find_process_0():
  service, job = yaml.safe_load_all((JOBS / "kubernetes_one_run.yaml").read_text())
  spec, name = job["spec"], job["metadata"]["name"]
  (container,) = spec["template"]["spec"]["containers"]
  flags = read([word.replace("$(INDEX)", "1") for word in container["command"]]).flags
  assert spec["completions"] == spec["parallelism"] == flags["num_processes"]
  subdomain = spec["template"]["spec"]["subdomain"]
  assert flags["coordinator_address"] == f"{name}-0.{subdomain}:8476"
  assert service["metadata"]["name"] == subdomain and service["spec"]["clusterIP"] == "None"
  assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}


@pytest.mark.parametrize(
  ("script", "status", "requeued"),
  [
    ("slurm.sh", 0, ""),
    ("slurm.sh", 2, ""),
    ("slurm.sh", 130, "requeue 77_3\n"),
    ("slurm_one_run.sh", 2, ""),
    ("slurm_one_run.sh", 130, "requeue 78\n"),
  ],
)
def test_slurm_begins_again_what_a_signal_has_stopped(tmp_path, script, status, requeued):
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
    "SLURM_JOB_ID": "78",
    "RUNS": "/shared/my runs",
  }
  command = ["bash", str(JOBS / script), "speech", "--beta=0.2", "--epochs=40"]
  done = subprocess.run(
    command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
  )
  assert (done.returncode, done.stdout, done.stderr) == (status, requeued, "")
  words = (tmp_path / "ran").read_text().splitlines()
  settings = read(words[words.index("python") :])
  where = (3, "/shared/my runs/speech/3") if script == "slurm.sh" else (0, "/shared/my runs/speech")
  assert (settings.seed, settings.workdir) == where
  assert settings.betas == ((0.0, 0.2),) and settings.amount == 40


@pytest.mark.parametrize("ends", [[0], [2], [130, 130, 0], [130, 2]])
def test_a_worker_of_a_tpu_pod_begins_again_until_its_run_has_ended(tmp_path, ends):
  """With a `python` that writes its command down and ends with one status after the other."""
  (tmp_path / "ends").write_text("\n".join(map(str, ends)) + "\n")
  line = 'printf "%s\\n" python "$@" > ran; status=$(head -1 ends); sed -i 1d ends; exit $status'
  (tmp_path / "python").write_text(f"#!/bin/sh\n{line}\n")
  (tmp_path / "python").chmod(stat.S_IRWXU)
  path = f"{tmp_path}:{os.environ['PATH']}"
  environment = {"PATH": path, "RUNS": "/shared/my runs", "PAUSE_SECONDS": "0"}
  command = ["bash", str(JOBS / "tpu_pod.sh"), "speech", "--batch_size=64"]
  done = subprocess.run(
    command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
  )
  assert (done.returncode, done.stdout, done.stderr) == (ends[-1], "", "")
  assert (tmp_path / "ends").read_text() == ""
  settings = read((tmp_path / "ran").read_text().splitlines())
  assert (settings.workdir, settings.batch_size) == ("/shared/my runs/speech", 64)


@pytest.mark.parametrize("script", ["slurm.sh", "slurm_one_run.sh", "tpu_pod.sh"])
def test_a_script_wants_an_experiment(tmp_path, script):
  done = subprocess.run(
    ["bash", str(JOBS / script)], capture_output=True, text=True, check=False, cwd=tmp_path
  )
  assert done.returncode != 0 and "name an experiment: spotting" in done.stderr
