"""Temporal MNIST (section 3.3): every pixel spikes once in ten steps, ink first."""

import gzip
import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batches import Split, Splits
from data_pipelines.downloads import require_network
from rc_jax.types import Array, Batch, Key

NUM_STEPS = 10
IMAGE_SHAPE = (28, 28)
CLASS_NAMES = tuple("0123456789")
DATASETS = ("mnist", "digits")

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
MD5 = {
  "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
  "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
  "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
  "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


def spike_step(images: Array) -> Array:
  """The zero-based step at which each pixel spikes: `[...]` uint8 -> `[...]` int32 in 0..9.

  A value v spikes at `10 - max(ceil(10 v / 255), 1)`, so pixels >= 230 come first and the
  background last (section 3.3; the binning of the authors' notebook).
  """
  tenths = (images.astype(jnp.int32) * NUM_STEPS + 254) // 255
  return NUM_STEPS - jnp.maximum(tenths, 1)


def encode(images: Array) -> Array:
  """Spreads images over time: `[B, ...]` uint8 -> `[B, 10, ...]` float32 in {0, 1}."""
  step = spike_step(images)[:, None]
  return (step == _each_step(images)).astype(jnp.float32)


def accumulate(images: Array) -> Array:
  """All that is known at each step: `[B, ...]` uint8 -> `[B, 10, ...]` float32.

  A pixel is 0 until it spikes and `1 - spike_step / 10` from then on: the first step is the binary
  image of pixels >= 230, the last one the whole image in tenths.
  """
  step = spike_step(images)[:, None]
  earliness = (NUM_STEPS - step).astype(jnp.float32) / NUM_STEPS
  return jnp.where(step <= _each_step(images), earliness, 0.0)


def _each_step(images: Array) -> Array:
  """0 to 9, int32 `[1, 10, 1, ...]`: compares with `[B, 1, ...]`, made of images `[B, ...]`."""
  return jnp.arange(NUM_STEPS, dtype=jnp.int32).reshape(1, -1, *(1,) * (images.ndim - 1))


def prepare(batch: Batch, *, flat: bool) -> Batch:
  """Turns stored images `[B, 28, 28]` into steps, on the device.

  Args:
    batch: of a `Split` made by `load`.
    flat: True gives inputs `[B, 10, 784]`, False `[B, 10, 28, 28, 1]`.
  """
  images = batch.inputs
  images = images.reshape(len(images), -1) if flat else images[..., None]
  return batch._replace(inputs=encode(images))


def prepare_accumulated(batch: Batch, *, prefix: int | None = None) -> Batch:
  """Turns stored images `[B, 28, 28]` into steps of `accumulate`, on the device.

  Args:
    batch: of a `Split` made by `load`.
    prefix: 1 to 10, keep only this step, which shows all pixels that have spiked by then.

  Raises:
    ValueError: another prefix.
  """
  if prefix is not None and not 1 <= prefix <= NUM_STEPS:
    raise ValueError(f"prefix is {prefix}; it must lie in 1..{NUM_STEPS}")
  inputs = accumulate(batch.inputs[..., None])
  if prefix is None:
    return batch._replace(inputs=inputs)
  known = inputs[:, prefix - 1 : prefix]
  return batch._replace(inputs=known, lengths=jnp.ones_like(batch.lengths))


def random_step(key: Key, batch: Batch) -> Batch:
  """Keeps one step of each row, drawn uniformly, as a sequence of length 1.

  Args:
    key: consumed.
    batch: inputs `[B, T, ...]`.
  """
  step = jax.random.randint(key, batch.labels.shape, 0, batch.lengths)
  inputs = jax.vmap(lambda x, t: x[t][None])(batch.inputs, step)
  return batch._replace(inputs=inputs, lengths=jnp.ones_like(batch.lengths))


def shift(key: Key, batch: Batch, pixels: int) -> Batch:
  """Moves each image by its own random number of pixels; what comes in is background.

  Args:
    key: consumed.
    batch: of a `Split` made by `load`, images `[B, 28, 28]` uint8.
    pixels: each direction is drawn uniformly from `-pixels..pixels`; 0 changes nothing.
  """
  if not pixels:
    return batch
  images = batch.inputs
  padded = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)))
  corners = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)
  cut = lambda image, corner: jax.lax.dynamic_slice(image, tuple(corner), IMAGE_SHAPE)
  return batch._replace(inputs=jax.vmap(cut)(padded, corners))


def warp(key: Key, batch: Batch, *, degrees: float, zoom: float) -> Batch:
  """Turns each image about its centre and stretches both axes, by random amounts of its own.

  Each pixel takes the value of the nearest one, so that grey values stay as frequent as they are:
  interpolating would leave 58 instead of 85 of a thousand pixels to the first step.

  Args:
    key: consumed.
    batch: of a `Split` made by `load`, images `[B, 28, 28]` uint8.
    degrees: the angle is drawn uniformly from `-degrees..degrees`.
    zoom: each axis is stretched by a factor drawn uniformly from `1 - zoom..1 + zoom`. With 0 and 0
      nothing changes.
  """
  if not (degrees or zoom):
    return batch
  rows = len(batch.inputs)
  angle_key, zoom_key = jax.random.split(key)
  angle = jnp.deg2rad(jax.random.uniform(angle_key, (rows,), minval=-degrees, maxval=degrees))
  factors = jax.random.uniform(zoom_key, (2, rows), minval=1 - zoom, maxval=1 + zoom)
  centre = (jnp.array(IMAGE_SHAPE, jnp.float32)[:, None, None] - 1) / 2
  y, x = jnp.indices(IMAGE_SHAPE, jnp.float32) - centre

  def warped(image: Array, angle: Array, factors: Array) -> Array:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source = jnp.stack([(cos * y - sin * x) / factors[0], (sin * y + cos * x) / factors[1]])
    return jax.scipy.ndimage.map_coordinates(image, list(source + centre), order=0)

  images = jax.vmap(warped, (0, 0, 1))(batch.inputs.astype(jnp.float32), angle, factors)
  return batch._replace(inputs=images.astype(batch.inputs.dtype))


def load(
  dataset: str = "mnist", *, data_dir: str | None = None, holdout: int | None = None
) -> Splits:
  """Loads images `[N, 28, 28]` uint8, ink bright.

  Args:
    dataset: "mnist", or "digits": scikit-learn's bundled 8 x 8 digits, enlarged to 24 x 24, the
      stand-in that needs no download.
    data_dir: folder with the four original archives of MNIST; None downloads them.
    holdout: how many training images, the last ones, are the validation split. None means 5,000
      of MNIST and 200 of digits. With 0 training has all of them, and validation repeats the last
      ones: then it must not choose anything.

  Returns:
    Splits; each record is an image with its label and length 10.

  Raises:
    ValueError: an unknown data set, archives that are missing or damaged, a holdout that leaves
      nothing to train on, no network, or no scikit-learn.
  """
  if dataset not in DATASETS:
    raise ValueError(f"dataset is {dataset!r}; choose one of {', '.join(DATASETS)}")
  if dataset == "digits" and data_dir:
    raise ValueError("data_dir is for --dataset=mnist; digits come with scikit-learn")
  default, parts = (5000, _mnist(data_dir)) if dataset == "mnist" else (200, _digits())
  (images, labels), (test_images, test_labels) = parts
  holdout = default if holdout is None else holdout
  if not 0 <= holdout < len(images):
    raise ValueError(f"holdout is {holdout}; it must lie in 0..{len(images) - 1}")
  cut, start = len(images) - holdout, len(images) - (holdout or default)
  return Splits(
    _split(images[:cut], labels[:cut], "training"),
    _split(images[start:], labels[start:], "validation"),
    _split(test_images, test_labels, "test"),
  )


def _split(images: np.ndarray, labels: np.ndarray, name: str) -> Split:
  lengths = np.full(len(images), NUM_STEPS)
  return Split(images, labels, lengths, num_classes=10, num_steps=NUM_STEPS, name=name)


def _mnist(data_dir: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
  paths = _download() if data_dir is None else {n: pathlib.Path(data_dir) / n for n in MD5}
  return [
    (
      _read_idx(f"{part}-images-idx3-ubyte.gz", paths, IMAGE_SHAPE),
      _read_idx(f"{part}-labels-idx1-ubyte.gz", paths, ()),
    )
    for part in ("train", "t10k")
  ]


def _download() -> dict[str, pathlib.Path]:
  """Fetches the archives once; TFDS's builder needs TensorFlow to prepare, its downloads do not."""
  require_network(
    URL,
    "Without a network, give the folder of the four archives with --data_dir, or use "
    "--dataset=digits.",
  )
  import tensorflow_datasets as tfds

  folder = pathlib.Path("~/tensorflow_datasets/downloads/mnist").expanduser()
  manager = tfds.download.DownloadManager(download_dir=folder, register_checksums=False)
  return manager.download({name: URL + name for name in MD5})


def _read_idx(name: str, paths: dict[str, pathlib.Path], item_shape: tuple[int, ...]) -> np.ndarray:
  """Reads a checksummed idx archive: `[N, *item_shape]` uint8."""
  path = paths[name]
  if not path.is_file():
    raise ValueError(f"{path} is missing; --data_dir must hold {', '.join(MD5)}")
  packed = path.read_bytes()
  digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
  if digest != MD5[name]:
    raise ValueError(f"{path} has MD5 {digest}, not the original's {MD5[name]}; get it again")
  header = 4 + 4 * (1 + len(item_shape))
  return np.frombuffer(gzip.decompress(packed), np.uint8, offset=header).reshape(-1, *item_shape)


def _digits() -> list[tuple[np.ndarray, np.ndarray]]:
  try:
    from sklearn import datasets
  except ImportError as error:
    raise ValueError("--dataset=digits needs scikit-learn; pip install 'rc-jax[digits]'") from error
  digits = datasets.load_digits()
  values = (digits.images * 255 // 16).astype(np.uint8)
  images = np.pad(np.kron(values, np.ones((1, 3, 3), np.uint8)), ((0, 0), (2, 2), (2, 2)))
  labels = digits.target
  cut = len(images) - 360
  return [(images[:cut], labels[:cut]), (images[cut:], labels[cut:])]
