"""Compiled programs, kept on disk: a second start of the same command compiles nothing anew."""

import os
import pathlib
import tempfile
import warnings

import jax

OFF = "off"
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_MIN_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def turn_on(choice: str | None) -> str | None:
  """Makes JAX keep what it compiles; to be called before the first compilation of a process.

  A cache only saves time, so a folder that cannot be used is no error.

  Args:
    choice: a folder, "off", or None: the folder of JAX_COMPILATION_CACHE_DIR where the user has
      set it, else `rc_jax/compiled` in the user's cache, by the XDG convention.

  Returns:
    None, or a sentence for the user that says which folder cannot be written and why.
  """
  if choice == OFF:
    jax.config.update("jax_enable_compilation_cache", False)
    return None
  folder = choice or os.environ.get(_FOLDER) or _users_folder()
  if "://" not in folder:  # else a bucket, which JAX opens by itself
    folder = os.path.expanduser(folder)
    try:
      pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
      tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
      jax.config.update("jax_enable_compilation_cache", False)
      return (
        f"running without a cache of compiled programs: {folder} cannot be written "
        f"({error.strerror}); give another folder, or off, as --compile_cache"
      )
  jax.config.update("jax_compilation_cache_dir", folder)
  if _MIN_SECONDS not in os.environ:  # JAX's default leaves out most programs of small networks
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
  # One process may find an entry that another has half written, and a disk may fill: JAX then
  # compiles, and its warning, with a line of source, would look like a failure.
  warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
  return None


def _users_folder() -> str:
  """Names the folder in the user's cache."""
  cache = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
  return os.path.join(cache, "rc_jax", "compiled")
