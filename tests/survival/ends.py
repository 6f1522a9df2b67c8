"""What the ends of two runs are compared by: every number but the times, bit by bit."""

import hashlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests.running import lines, read_json

TIMES = {"seconds": None, "update_ms": None}


def read_end(folder):
  """Result, lines of metrics and digests of all arrays of the last checkpoint, by name."""
  step = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
  end = {"result": read_json(folder) | TIMES, "metrics": lines(folder)}
  end["params.msgpack"] = hashlib.sha256((folder / "params.msgpack").read_bytes()).hexdigest()
  for part in ("state", "best"):
    end[f"checkpoint {part}"] = (
      step,
      digest(read_arrays(folder / "checkpoints" / str(step) / part)),
    )
  return end


def read_arrays(folder):
  """The arrays of a part of a checkpoint, by the path of each in its tree."""
  reader = ocp.PyTreeCheckpointer()
  like = reader.metadata(folder.absolute()).item_metadata.tree
  kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
  tree = reader.restore(folder.absolute(), ocp.args.PyTreeRestore(restore_args=kinds))
  return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def digest(arrays):
  """SHA-256 of each array's type, shape and bytes."""
  text = lambda a: repr((str(a.dtype), a.shape)).encode() + np.ascontiguousarray(a).tobytes()
  return {name: hashlib.sha256(text(np.asarray(a))).hexdigest() for name, a in arrays.items()}


def list_differences(end, expected):
  """Names the parts in which two ends differ."""
  return [name for name in expected if end[name] != expected[name]]
