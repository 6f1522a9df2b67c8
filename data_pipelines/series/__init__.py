"""Anyone's time series: `.ts` files of the UEA and UCR archive, `.npz` and `.npy`, or CSV.

`find_files` finds the files of both splits, `load` reads and checks them and standardises their
values. On the device `join_samples` joins samples into steps.
"""

from data_pipelines.series.contents import SeriesFile, find_class
from data_pipelines.series.holdout import hold_out
from data_pipelines.series.locate import (
  PACKAGED,
  Paths,
  find_files,
  read_file,
  read_files,
  read_new,
)
from data_pipelines.series.missing import MISSING, describe_filled, fill_missing
from data_pipelines.series.pipeline import LARGEST, Series, Statistics, load, standardise
from data_pipelines.series.steps import count_samples, join_samples

__all__ = [
  "LARGEST",
  "MISSING",
  "PACKAGED",
  "Paths",
  "Series",
  "SeriesFile",
  "Statistics",
  "count_samples",
  "describe_filled",
  "fill_missing",
  "find_class",
  "find_files",
  "hold_out",
  "join_samples",
  "load",
  "read_file",
  "read_files",
  "read_new",
  "standardise",
]
