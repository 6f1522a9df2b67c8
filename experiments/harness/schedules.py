"""Values that change with epochs: `0.5,30:0.165` is 0.5, and 0.165 from epoch 30 on."""

import re

import optax

Points = tuple[tuple[float, float], ...]  # (epoch, value from then on); the first epoch is 0
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


def parse_points(name: str, text: str) -> Points:
  """Parses `0.2` or `0.5,30:0.165`: a value, then `epoch:value` from that epoch on.

  Args:
    name: of the flag, for the message of an error.
    text: value of the flag.

  Returns:
    `((epoch, value), ...)`, the first at epoch 0.

  Raises:
    ValueError: the text has another form, or its epochs do not rise.
  """
  first, *rest = (part.strip() for part in text.split(","))
  form = "give a number, as 0.2, or a schedule, as 0.5,30:0.165 (0.165 from epoch 30 on)"
  if not re.fullmatch(_NUMBER, first):
    raise ValueError(f"--{name} is {text!r}; {form}")
  points = [(0.0, float(first))]
  for part in rest:
    match = re.fullmatch(f"({_NUMBER}):({_NUMBER})", part)
    if not match or float(match[1]) <= points[-1][0]:
      problem = "epochs must rise" if match else f"{part!r} is not epoch:value"
      raise ValueError(f"--{name} is {text!r}: {problem}; {form}")
    points.append((float(match[1]), float(match[2])))
  return tuple(points)


def format_points(points: Points) -> str:
  """Writes points in one canonical form, which `parse_points` reads back unchanged.

  Args:
    points: `((epoch, value), ...)`, the first at epoch 0.
  """
  number = lambda value: repr(value).removesuffix(".0")
  later = [f"{number(epoch)}:{number(value)}" for epoch, value in points[1:]]
  return ",".join([number(points[0][1]), *later])


def to_schedule(name: str, points: Points, updates_per_epoch: int | None) -> float | optax.Schedule:
  """Turns points into what `make_train` takes: a number, or a schedule of the update count.

  Args:
    name: of the flag, for the message of an error.
    points: `((epoch, value), ...)`, the first at epoch 0.
    updates_per_epoch: None for a generated task, which has no epochs.

  Raises:
    ValueError: the value changes with epochs, but the task has none.
  """
  if len(points) == 1:
    return points[0][1]
  if updates_per_epoch is None:
    raise ValueError(f"--{name} changes with epochs; a generated task has none; give one number")
  values = [optax.constant_schedule(value) for _, value in points]
  return optax.join_schedules(values, [round(e * updates_per_epoch) for e, _ in points[1:]])
