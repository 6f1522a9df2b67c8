"""The README's first lines run as they stand, and print what they claim."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def test_the_first_lines_learn_to_answer_early():
  code = re.search(r"```python\n(import jax.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
  assert len([line for line in code.splitlines() if line.strip()]) <= 13
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  accuracy, steps = re.match(r"accuracy ([\d.]+) after ([\d.]+) of 40 steps", done.stdout).groups()
  assert float(accuracy) > 0.9 and float(steps) < 25
