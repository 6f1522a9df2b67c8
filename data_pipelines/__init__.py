"""Data sets as splits of stored records, and pure functions that turn records into steps.

The package needs the extra `data`: `pip install 'rc-jax[data]'`.
"""

from importlib.util import find_spec

_NEEDED = ("grain", "librosa", "scipy", "soundfile", "soxr", "tensorflow_datasets", "tqdm")
# `find_spec` of a top-level name looks for its file and imports nothing: the check costs a
# millisecond, and without it a plain `pip install rc-jax` would fail module by module.
_missing = [name for name in _NEEDED if find_spec(name) is None]
if _missing:
  raise ImportError(
    f"data_pipelines needs {', '.join(_missing)}; install them with `pip install 'rc-jax[data]'`"
  )
