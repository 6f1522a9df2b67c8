"""The README's code runs and says what it claims to print."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def test_the_twelve_lines_learn_to_answer_early():
  code = re.search(r"```python\n(import jax.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
  assert len([line for line in code.splitlines() if line.strip()]) == 12
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  accuracy, steps = re.match(r"accuracy ([\d.]+) after ([\d.]+) of 40 steps", done.stdout).groups()
  assert float(accuracy) > 0.9 and float(steps) < 25


def test_links_lead_somewhere():
  for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
      if "://" not in target:
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
