"""Folders that are whole or not there: written aside, summed, renamed into place.

What `build` writes goes to a temporary folder beside the final one; then a manifest with the size
and CRC-32 of every file is added and the folder is renamed, so readers see all or nothing, and
whoever loses a race takes the winner's. On opening, every size and sum is checked: a truncated or
altered folder is built again.
"""

import contextlib
import json
import pathlib
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator

_MANIFEST = "manifest.json"
_TEMPORARY = ".unfinished-"
_STALE_SECONDS = 24 * 3600
_RENAMES = 10  # attempts, should others keep putting damaged folders in the way


def open_or_build(
  cache_dir: pathlib.Path, key: str, build: Callable[[pathlib.Path], None]
) -> pathlib.Path:
  """The sound folder `cache_dir / key`; `build(folder)` fills it where there is none.

  Raises:
    ValueError: cache_dir cannot be written; and whatever `build` raises.
  """
  final = cache_dir / key
  if is_sound(final):
    return final
  with _writable_folder(cache_dir) as folder:
    build(folder)
    _seal(folder)
    _publish(folder, final)
  return final


def is_sound(folder: pathlib.Path) -> bool:
  """Whether a folder has a manifest and every file is as the manifest has it."""
  try:
    sums = json.loads((folder / _MANIFEST).read_text())
    return bool(sums) and all(
      [(folder / name).stat().st_size, _crc32(folder / name)] == expected
      for name, expected in sums.items()
    )
  except (OSError, ValueError, AttributeError):
    return False


@contextlib.contextmanager
def _writable_folder(cache_dir: pathlib.Path) -> Iterator[pathlib.Path]:
  """A temporary folder in the cache, gone afterwards unless it was published."""
  folder = None
  try:
    cache_dir.mkdir(parents=True, exist_ok=True)
    _sweep(cache_dir)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=cache_dir))
    yield folder
  except OSError as error:
    raise ValueError(
      f"cache_dir {cache_dir} cannot be written ({error.strerror or error}); choose another one"
    ) from error
  finally:
    if folder is not None:
      shutil.rmtree(folder, ignore_errors=True)


def _sweep(cache_dir: pathlib.Path) -> None:
  """Removes what killed processes left behind a day ago or earlier."""
  for folder in cache_dir.glob(f"{_TEMPORARY}*"):
    with contextlib.suppress(OSError):
      if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
        shutil.rmtree(folder, ignore_errors=True)


def _seal(folder: pathlib.Path) -> None:
  """Writes the manifest: from here on the folder counts."""
  sums = {path.name: [path.stat().st_size, _crc32(path)] for path in sorted(folder.iterdir())}
  (folder / _MANIFEST).write_text(json.dumps(sums))


def _publish(folder: pathlib.Path, final: pathlib.Path) -> None:
  """Renames a finished folder into place; a sound one that is there already stays."""
  for _ in range(_RENAMES):
    try:
      folder.rename(final)
      return
    except OSError:
      if not final.exists():
        raise
    if is_sound(final):
      return
    # A damaged one is in the way. Maps of its files that others hold stay valid after this.
    grave = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=final.parent))
    with contextlib.suppress(OSError):
      final.rename(grave / "damaged")
    shutil.rmtree(grave, ignore_errors=True)
  raise OSError(f"{final.name} could not be put into place")


def _crc32(path: pathlib.Path) -> int:
  crc = 0
  with path.open("rb") as file:
    while block := file.read(1 << 22):
      crc = zlib.crc32(block, crc)
  return crc
