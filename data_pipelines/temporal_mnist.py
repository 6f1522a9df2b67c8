"""Temporal MNIST (section 3.3): each pixel spikes once in ten steps, the brightest first.

`load` gives images as uint8. On the device `shift` and `warp` change a training batch of images,
and `prepare` or `prepare_accumulated` spreads images over steps.
"""

import gzip
import hashlib
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batches import Split, Splits
from data_pipelines.downloads import explain_failure, require_network
from rc_jax.types import Array, Batch, Key

NUM_STEPS = 10
FIRST_FROM = 230  # grey value: the brightest of ten bins of one width
IMAGE_SHAPE = (28, 28)
CLASS_NAMES = tuple("0123456789")
DATASETS = ("mnist", "digits")

URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_OTHERWISE = (
  "Without a network, give the folder of the four archives with --data_dir, or use "
  "--dataset=digits."
)
MD5 = {
  "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
  "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
  "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
  "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


def spike_step(images: Array, first_from: int = FIRST_FROM) -> Array:
  """Computes the step at which each pixel spikes (section 3.3).

  Values from `first_from` on spike first. Darker ones share the nine other steps evenly, and the
  background spikes last. With 230 the ten bins have one width, as in the authors' notebook.

  Args:
    images: `[...]` uint8.
    first_from: in 1..255.

  Returns:
    `[...]` int32, zero-based steps in 0..9.
  """
  width = 2 * first_from - 1  # 18 bins of (first_from - 1/2) / 9: all is whole
  nth = (2 * (NUM_STEPS - 1) * images.astype(jnp.int32) + width - 1) // width
  return NUM_STEPS - jnp.clip(nth, 1, NUM_STEPS)


def encode(images: Array, first_from: int = FIRST_FROM) -> Array:
  """Encodes images as spikes: 1 at the step at which a pixel spikes, 0 at all others.

  Args:
    images: `[B, ...]` uint8.
    first_from: as of `spike_step`.

  Returns:
    `[B, 10, ...]` float32 in {0, 1}.
  """
  step = spike_step(images, first_from)[:, None]
  return (step == _number_steps(images)).astype(jnp.float32)


def accumulate(images: Array, first_from: int = FIRST_FROM) -> Array:
  """Encodes images so that each step shows all pixels that have spiked up to it.

  A pixel is 0 before it spikes and `1 - spike_step / 10` from then on: the first step is a binary
  image of the brightest values, the last step the whole image in ten of them.

  Args:
    images: `[B, ...]` uint8.
    first_from: as of `spike_step`.

  Returns:
    `[B, 10, ...]` float32 in 0..1.
  """
  step = spike_step(images, first_from)[:, None]
  earliness = (NUM_STEPS - step).astype(jnp.float32) / NUM_STEPS
  return jnp.where(step <= _number_steps(images), earliness, 0.0)


def _number_steps(images: Array) -> Array:
  """Numbers the steps 0 to 9 along axis 1, `[1, 10, 1, ...]` int32, for images `[B, ...]`."""
  return jnp.arange(NUM_STEPS, dtype=jnp.int32).reshape(1, -1, *(1,) * (images.ndim - 1))


def prepare(batch: Batch, *, flat: bool, first_from: int = FIRST_FROM) -> Batch:
  """Turns a batch of images into steps of spikes, by `encode`.

  Args:
    batch: inputs `[B, 28, 28]` uint8, from a split that `load` made.
    flat: whether each step is a vector instead of an image.
    first_from: as of `spike_step`.

  Returns:
    The batch with float32 inputs `[B, 10, 784]` if flat, else `[B, 10, 28, 28, 1]`. Labels and
    lengths stay.
  """
  images = batch.inputs
  images = images.reshape(len(images), -1) if flat else images[..., None]
  return batch._replace(inputs=encode(images, first_from))


def prepare_accumulated(
  batch: Batch, *, prefix: int | None = None, first_from: int = FIRST_FROM
) -> Batch:
  """Turns a batch of images into steps that each show all spikes so far, by `accumulate`.

  Args:
    batch: inputs `[B, 28, 28]` uint8, from a split that `load` made.
    prefix: 1 to 10 keeps only that step, of the pixels that have spiked so far; None keeps all.
    first_from: as of `spike_step`.

  Returns:
    The batch with inputs `[B, 10, 28, 28, 1]` float32; a prefix leaves one step, and lengths of 1.

  Raises:
    ValueError: if prefix is out of range.
  """
  if prefix is not None and not 1 <= prefix <= NUM_STEPS:
    raise ValueError(f"prefix is {prefix}; it must lie in 1..{NUM_STEPS}")
  inputs = accumulate(batch.inputs[..., None], first_from)
  if prefix is None:
    return batch._replace(inputs=inputs)
  known = inputs[:, prefix - 1 : prefix]
  return batch._replace(inputs=known, lengths=jnp.ones_like(batch.lengths))


def random_step(key: Key, batch: Batch) -> Batch:
  """Keeps a single step of each row, drawn uniformly from the row's own steps.

  Args:
    key: consumed.
    batch: inputs `[B, T, ...]`; steps beyond a row's length are never drawn.

  Returns:
    The batch with inputs `[B, 1, ...]` and lengths 1. Labels stay.
  """
  step = jax.random.randint(key, batch.labels.shape, 0, batch.lengths)
  inputs = jax.vmap(lambda x, t: x[t][None])(batch.inputs, step)
  return batch._replace(inputs=inputs, lengths=jnp.ones_like(batch.lengths))


def shift(key: Key, batch: Batch, pixels: int) -> Batch:
  """Shifts each image by a random number of whole pixels along both axes.

  Background fills the edge from which an image moves away.

  Args:
    key: consumed.
    batch: inputs `[B, 28, 28]` uint8, from a split that `load` made.
    pixels: the shift along each axis is drawn uniformly from `-pixels..pixels`; 0 changes nothing.

  Returns:
    The batch with changed inputs of the same shape. Labels and lengths stay.
  """
  if not pixels:
    return batch
  images = batch.inputs
  padded = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)))
  corners = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)
  cut = lambda image, corner: jax.lax.dynamic_slice(image, tuple(corner), IMAGE_SHAPE)
  return batch._replace(inputs=jax.vmap(cut)(padded, corners))


def warp(key: Key, batch: Batch, *, degrees: float, zoom: float) -> Batch:
  """Rotates each image about its centre and stretches both its axes, by random amounts.

  Each pixel takes the value of the nearest source pixel, so that grey values stay as frequent as
  they are. Interpolation would blur bright pixels: 58 of a thousand pixels would spike at the first
  step, where 85 do.

  Args:
    key: consumed.
    batch: inputs `[B, 28, 28]` uint8, from a split that `load` made.
    degrees: the angle is drawn uniformly from `-degrees..degrees`.
    zoom: each axis has its own factor, drawn uniformly from `1 - zoom..1 + zoom`. If degrees and
      zoom are 0, nothing changes.

  Returns:
    The batch with changed inputs of the same shape. Labels and lengths stay.
  """
  if not (degrees or zoom):
    return batch
  rows = len(batch.inputs)
  angle_key, zoom_key = jax.random.split(key)
  angle = jnp.deg2rad(jax.random.uniform(angle_key, (rows,), minval=-degrees, maxval=degrees))
  factors = jax.random.uniform(zoom_key, (2, rows), minval=1 - zoom, maxval=1 + zoom)
  centre = (jnp.array(IMAGE_SHAPE, jnp.float32)[:, None, None] - 1) / 2
  y, x = jnp.indices(IMAGE_SHAPE, jnp.float32) - centre

  def warp_image(image: Array, angle: Array, factors: Array) -> Array:
    """Reads each pixel of an image `[28, 28]` from where the inverse map leads."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source = jnp.stack([(cos * y - sin * x) / factors[0], (sin * y + cos * x) / factors[1]])
    return jax.scipy.ndimage.map_coordinates(image, list(source + centre), order=0)

  images = jax.vmap(warp_image, (0, 0, 1))(batch.inputs.astype(jnp.float32), angle, factors)
  return batch._replace(inputs=images.astype(batch.inputs.dtype))


def load(
  dataset: str = "mnist", *, data_dir: str | None = None, holdout: int | None = None
) -> Splits:
  """Loads images of handwritten digits, `[N, 28, 28]` uint8, bright on a dark background.

  Args:
    dataset: "mnist", or "digits" for scikit-learn's bundled 8 x 8 digits, which are enlarged to
      24 x 24 pixels and need no download.
    data_dir: the folder of MNIST's four original archives; None downloads them.
    holdout: the number of training images, the last ones, that become the validation split. None
      means 5,000 for MNIST and 200 for digits. With 0 all images train, and the validation split
      repeats the last ones; nothing may then be chosen by its results.

  Returns:
    Splits whose records are an image, its label and the length 10.

  Raises:
    ValueError: if the data set is unknown, if archives are missing or damaged, if holdout leaves
      nothing to train on, or if there is no network or no scikit-learn where they are needed.
  """
  if dataset not in DATASETS:
    raise ValueError(f"dataset is {dataset!r}; choose one of {', '.join(DATASETS)}")
  if dataset == "digits" and data_dir:
    raise ValueError("data_dir is for --dataset=mnist; digits come with scikit-learn")
  default, parts = (5000, _read_mnist(data_dir)) if dataset == "mnist" else (200, _read_digits())
  (images, labels), (test_images, test_labels) = parts
  holdout = default if holdout is None else holdout
  if not 0 <= holdout < len(images):
    raise ValueError(f"holdout is {holdout}; it must lie in 0..{len(images) - 1}")
  cut, start = len(images) - holdout, len(images) - (holdout or default)
  return Splits(
    _make_split(images[:cut], labels[:cut], "training"),
    _make_split(images[start:], labels[start:], "validation"),
    _make_split(test_images, test_labels, "test"),
  )


def _make_split(images: np.ndarray, labels: np.ndarray, name: str) -> Split:
  """Joins images `[N, 28, 28]` and labels `[N]` with lengths of ten steps."""
  lengths = np.full(len(images), NUM_STEPS)
  return Split(images, labels, lengths, num_classes=10, num_steps=NUM_STEPS, name=name)


def _read_mnist(data_dir: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
  """Reads images and labels of MNIST, for training and for testing."""
  paths = (
    _download() if data_dir is None else {n: pathlib.Path(data_dir).expanduser() / n for n in MD5}
  )
  return [
    (
      _read_idx(f"{part}-images-idx3-ubyte.gz", paths, IMAGE_SHAPE),
      _read_idx(f"{part}-labels-idx1-ubyte.gz", paths, ()),
    )
    for part in ("train", "t10k")
  ]


def _download() -> dict[str, pathlib.Path]:
  """Downloads MNIST's archives unless they are there; returns their paths by name.

  TFDS downloads them, but does not prepare them: for that its own builder needs TensorFlow.
  """
  import tensorflow_datasets as tfds

  folder = pathlib.Path("~/tensorflow_datasets/downloads/mnist").expanduser()
  if len(list(folder.glob("*.gz"))) < len(MD5):
    require_network(URL, _OTHERWISE)
  with explain_failure(URL, _OTHERWISE):
    manager = tfds.download.DownloadManager(download_dir=folder, register_checksums=False)
    return manager.download({name: URL + name for name in MD5})


def _read_idx(name: str, paths: dict[str, pathlib.Path], item_shape: tuple[int, ...]) -> np.ndarray:
  """Reads an idx archive after checking its MD5: `[N, *item_shape]` uint8."""
  path = paths[name]
  if not path.is_file():
    raise ValueError(f"{path} is missing; --data_dir must hold {', '.join(MD5)}")
  packed = path.read_bytes()
  digest = hashlib.md5(packed, usedforsecurity=False).hexdigest()
  if digest != MD5[name]:
    raise ValueError(f"{path} has MD5 {digest}, not the original's {MD5[name]}; get it again")
  header = 4 + 4 * (1 + len(item_shape))
  return np.frombuffer(gzip.decompress(packed), np.uint8, offset=header).reshape(-1, *item_shape)


def _read_digits() -> list[tuple[np.ndarray, np.ndarray]]:
  """Reads images and labels of scikit-learn's digits, all but the last 360 for training."""
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
