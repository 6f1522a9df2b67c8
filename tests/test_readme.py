"""The README's first lines run as they stand, and print what they claim."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def test_the_first_lines_learn_to_answer_early():
  code = re.search(r"```python\n(import jax.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
  assert len(re.findall(r"^ *[^ #\n]", code, re.M)) <= 13  # lines of code
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  printed = r"accuracy ([\d.]+) after ([\d.]+) of 40 steps"
  accuracy, steps = re.match(printed, done.stdout).groups()
  assert float(accuracy) > 0.9 and float(steps) < 25
  claimed = [float(number) for number in re.search(printed, code).groups()]
  assert abs(claimed[0] - float(accuracy)) < 0.03 and abs(claimed[1] - float(steps)) < 2
