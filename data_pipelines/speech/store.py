"""Writes folders atomically: a reader finds a folder complete, or does not find it.

`build` writes into a temporary folder beside the final one. A manifest with the size and CRC-32 of
each file is added, and the folder is renamed to its final name. Where two processes build the same
folder at once, the slower one discards its own and uses the other's. Opening a folder checks every
size and checksum; a truncated or altered folder is built again.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator

from data_pipelines.processes import is_alive

_MANIFEST = "manifest.json"
_TEMPORARY = ".unfinished-"
_STALE_SECONDS = 24 * 3600
_RENAMES = 10  # attempts, in case others keep putting damaged folders in the way


def open_or_build(
  cache_dir: pathlib.Path, key: str, build: Callable[[pathlib.Path], None]
) -> pathlib.Path:
  """Returns the folder `cache_dir / key`, and builds it first where it is missing or damaged.

  Args:
    cache_dir: the folder of the cache; it is made where it does not exist.
    key: the folder's name.
    build: writes files into the empty folder that it is given.

  Raises:
    ValueError: if cache_dir cannot be written, also by `build`. What else it raises is passed on.
  """
  final = cache_dir / key
  if is_sound(final):
    return final
  with _writable_folder(cache_dir) as folder:
    build(folder)
    _write_manifest(folder)
    _publish(folder, final)
  return final


def remove(cache_dir: pathlib.Path, key: str) -> None:
  """Removes the folder `cache_dir / key`, so that no reader finds it half removed.

  Memory maps of its files, which others may hold, stay valid.
  """
  with contextlib.suppress(OSError):
    _bury(cache_dir / key)


def is_sound(folder: pathlib.Path) -> bool:
  """Whether a folder has a manifest, and each file has the size and checksum that it states."""
  try:
    sums = json.loads((folder / _MANIFEST).read_text())
    return bool(sums) and all(
      [(folder / name).stat().st_size, _crc32(folder / name)] == expected
      for name, expected in sums.items()
    )
  except (OSError, ValueError, AttributeError, RecursionError):
    return False


@contextlib.contextmanager
def _writable_folder(cache_dir: pathlib.Path) -> Iterator[pathlib.Path]:
  """Makes a temporary folder in the cache, and removes it afterwards unless it was renamed."""
  folder = None
  try:
    cache_dir.mkdir(parents=True, exist_ok=True)
    _remove_stale_folders(cache_dir)
    name = f"{_TEMPORARY}{socket.gethostname()}-{os.getpid()}-"
    folder = pathlib.Path(tempfile.mkdtemp(prefix=name, dir=cache_dir))
    folder.chmod(cache_dir.stat().st_mode & 0o777)  # who shares the cache reads its entries, too
    yield folder
  except OSError as error:
    raise ValueError(
      f"cache_dir {cache_dir} cannot be written ({error.strerror or error}); choose another one"
    ) from error
  finally:
    if folder is not None:
      shutil.rmtree(folder, ignore_errors=True)


def _remove_stale_folders(cache_dir: pathlib.Path) -> None:
  """Removes temporary folders of processes that are gone, or that have written nothing for a day.

  Whether a process of another machine lives cannot be seen.
  """
  ours = re.compile(rf"{re.escape(f'{_TEMPORARY}{socket.gethostname()}')}-(\d+)-")
  for folder in cache_dir.glob(f"{_TEMPORARY}*"):
    with contextlib.suppress(OSError):
      owner = ours.match(folder.name)
      written = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
      is_old = time.time() - written > _STALE_SECONDS
      if is_old or (owner and not is_alive(int(owner[1]))):
        shutil.rmtree(folder, ignore_errors=True)


def _write_manifest(folder: pathlib.Path) -> None:
  """Writes the manifest of a folder's files; a folder with a manifest is complete."""
  sums = {path.name: [path.stat().st_size, _crc32(path)] for path in sorted(folder.iterdir())}
  (folder / _MANIFEST).write_text(json.dumps(sums))


def _publish(folder: pathlib.Path, final: pathlib.Path) -> None:
  """Renames a finished folder to its final name; a sound folder of that name stays."""
  for _ in range(_RENAMES):
    try:
      folder.rename(final)
      return
    except OSError:
      if not final.exists():
        raise
    if is_sound(final):
      return
    _bury(final)  # a damaged folder is in the way
  raise OSError(
    f"{final.name} is there, but is damaged or may not be read, and cannot be replaced by this user"
  )


def _bury(folder: pathlib.Path) -> None:
  """Removes a folder; it is renamed first, so that no reader finds it half removed."""
  grave = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
  with contextlib.suppress(OSError):
    folder.rename(grave / "damaged")
  shutil.rmtree(grave, ignore_errors=True)


def _crc32(path: pathlib.Path) -> int:
  """Computes the CRC-32 of a file in blocks of 4 MiB."""
  crc = 0
  with path.open("rb") as file:
    while block := file.read(1 << 22):
      crc = zlib.crc32(block, crc)
  return crc
