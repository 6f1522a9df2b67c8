"""What `check_batch` says of data that cannot be right."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rc_jax


def batch(labels=(0, 1, 2), lengths=(1, 4, 2)):
  return rc_jax.Batch(np.zeros((3, 4, 5)), np.asarray(labels), np.asarray(lengths))


def test_a_good_batch():
  rc_jax.check_batch(batch(), 3)
  rc_jax.check_batch(rc_jax.Batch(*map(jnp.asarray, batch())), 3)


@pytest.mark.parametrize(
  "data, message",
  [
    (batch(labels=(0, 3, 4)), r"labels\[1\] is 3; it must lie in 0\.\.2"),
    (batch(labels=(0, 1, -1)), r"labels\[2\] is -1; it must lie in 0\.\.2"),
    (batch(lengths=(0, 1, 1)), r"lengths\[0\] is 0; it must lie in 1\.\.4"),
    (batch(lengths=(4, 1, 5)), r"lengths\[2\] is 5; it must lie in 1\.\.4"),
    ((1, 2, 3), r"the batch is a tuple; give rc_jax\.Batch\(inputs, labels, lengths\)"),
    (batch()._replace(labels=[0, 1, 1]), r"labels is a list; give an array \[3\]"),
    (batch(labels=(0, 1)), r"labels has shape \(2,\); inputs have 3 rows, so \[3\]"),
    (batch(lengths=((1, 1, 1),)), r"lengths has shape \(1, 3\); inputs have 3 rows, so \[3\]"),
  ],
)
def test_a_bad_batch(data, message):
  with pytest.raises(ValueError, match=message):
    rc_jax.check_batch(data, 3)


def test_inputs_that_are_not_finite_are_named():
  data = batch()
  data.inputs[1, 3, 2], data.inputs[2, 2:] = np.inf, np.nan
  with pytest.raises(ValueError, match=r"inputs\[1, 3\] is not finite; one such step can make all"):
    rc_jax.check_batch(data, 3)
  with pytest.raises(ValueError, match=r"inputs\['x'\]\[11, 3\] is not finite"):
    rc_jax.check_batch(data._replace(inputs={"x": data.inputs}), 3, first=10)
  rc_jax.check_batch(data, 3, finite_inputs=False)
  data.inputs[1, 3, 2] = 0
  rc_jax.check_batch(data, 3)  # what is left lies in the padding of the last row


def test_no_rows_are_no_fault():
  rc_jax.check_batch(jax.tree.map(lambda a: a[:0], batch()), 3)


def tree_batch(audio=(3, 4, 5), imu=(3, 4, 2, 2)):
  return batch()._replace(inputs={"audio": np.zeros(audio), "imu": np.zeros(imu)})


def test_a_good_batch_of_a_tree():
  rc_jax.check_batch(tree_batch(), 3)


@pytest.mark.parametrize(
  "data, message",
  [
    (
      tree_batch(imu=(3, 6, 2)),
      r"inputs\['imu'\] has shape \(3, 6, 2\), but inputs\['audio'\] has 3 rows of 4 steps; give",
    ),
    (
      tree_batch(imu=(2, 4)),
      r"inputs\['imu'\] has shape \(2, 4\), but .*; give all of them the same",
    ),
    (tree_batch(audio=(3,)), r"inputs\['audio'\] has shape \(3,\); give \[B, T, \.\.\.\], T >= 1"),
    (batch()._replace(inputs=()), "inputs is an empty tree; give at least one array"),
    (batch(lengths=(1.0, 2.0, 3.0)), "lengths are float64; give whole numbers"),
  ],
)
def test_a_bad_tree(data, message):
  with pytest.raises(ValueError, match=message):
    rc_jax.check_batch(data, 3)


def test_parameters_in_the_place_of_the_classifier():
  classifier = rc_jax.lstm(2, 3)
  message = r"classifier is a dict; give a Classifier, such as rc_jax\.lstm makes"
  for call in (
    lambda: rc_jax.make_train({}, optax.sgd(0.1)),
    lambda: rc_jax.make_stream({}, classifier, 0.9),
    lambda: rc_jax.evaluate({}, classifier, batch(), 0.9),
    lambda: rc_jax.frontier({}, classifier, batch(), 0.9),
    lambda: rc_jax.accuracy_at_step({}, classifier, batch()),
  ):
    with pytest.raises(ValueError, match=message):
      call()


def test_what_is_no_parameters_of_the_network():
  classifier = rc_jax.lstm(2, 3)
  train = rc_jax.make_train(classifier, optax.sgd(0.1))
  state = jax.eval_shape(train.init, jax.random.key(0), jnp.zeros(5))
  other = jax.tree.map(
    lambda a: np.zeros(a.shape),
    jax.eval_shape(rc_jax.lstm(4, 3).init, jax.random.key(0), jnp.zeros(5)),
  )
  for call in (
    lambda params: rc_jax.evaluate(classifier, params, batch(), 0.9),
    lambda params: rc_jax.frontier(classifier, params, batch(), [0.9]),
    lambda params: rc_jax.make_stream(classifier, params, 0.9),
  ):
    with pytest.raises(ValueError, match=r"params is a TrainState; give its \.params"):
      call(state)
  with pytest.raises(
    ValueError, match=r"cannot take these parameters with inputs .* of another netw"
  ):
    rc_jax.evaluate(classifier, other, batch(), 0.9)
  with pytest.raises(
    ValueError, match="the classifier's initial_carry is a ndarray; give a functi"
  ):
    rc_jax.evaluate(classifier._replace(initial_carry=np.zeros(2)), other, batch(), 0.9)


def test_a_theta_of_any_float_type():
  rc_jax.check_theta(jnp.bfloat16(0.9), 3)
  rc_jax.check_theta(np.float16([0.9, 0.8]), 3, 2)


def test_a_beta_of_any_float_type_and_no_complex_one():
  rc_jax.check_beta(jnp.bfloat16(0.1))
  for check, message in ((rc_jax.check_beta, "beta is 1j"), (rc_jax.check_theta, "theta is 1j")):
    with pytest.raises(ValueError, match=f"{message}; give .* number"):
      check(1j)


def test_no_threshold_at_all():
  with pytest.raises(ValueError, match=r"theta has shape \(0,\); give a number, or one threshold"):
    rc_jax.make_stream(rc_jax.lstm(2, 3), {}, [])


def test_a_theta_that_is_text():
  with pytest.raises(ValueError, match=r"theta is '0\.9'; give a number, as 0\.95"):
    rc_jax.make_train(rc_jax.lstm(2, 3), optax.sgd(0.1), theta="0.9")


def test_a_seed_in_the_place_of_a_key():
  train = rc_jax.make_train(rc_jax.lstm(2, 3), optax.sgd(0.1))
  for seed in (0, np.uint32(0), [[1], [1, 2]], jax.random.split(jax.random.key(0), 3)):
    with pytest.raises(ValueError, match=r"key is .*; give one key, as jax\.random\.key\(0\)"):
      train.init(seed, jnp.zeros(5))
  jax.eval_shape(train.init, jax.random.PRNGKey(0), jnp.zeros(5))  # the older kind
