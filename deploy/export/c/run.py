"""A trained run as C."""

import pathlib
from typing import Any

from deploy.export.c.series import write_series
from deploy.export.c.sound import write_sound
from deploy.run_files import Run


def write_run(folder: str | pathlib.Path, run: Run, **options: Any) -> dict[str, int]:
  """Writes `rc_model.c` and `rc_model.h` of a run, with its rule and its statistics.

  Args:
    folder: where to; made if missing.
    run: of series, as `check_series_run` returns it, or of speech, as `check_speech_run` does.
    **options: `weights`; of a run of speech, `not_reported` too (see `write_sound`).

  Returns:
    Sizes, as `write_program`.

  Raises:
    ValueError: a network that cannot be written.
  """
  given: dict[str, Any] = {"constructor": run.model.constructor, "params": run.params}
  given |= {"class_names": run.class_names, "rule": run.rule, **run.statistics, **options}
  if run.experiment != "series":
    return write_sound(folder, **given)
  reading = {name: run.reading[name] for name in ("channels", "samples_per_step")}
  return write_series(folder, **given, **reading)
