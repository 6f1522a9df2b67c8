"""Signals end a run in order, wherever they come."""

import os
import signal
import sys

import pytest

from experiments.harness import flags, thread_errors
from experiments.harness.signals import StopOnSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_first_signal_is_noted_and_a_second_one_kills(number):
  before = signal.getsignal(number)
  with StopOnSignal() as stop:
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    assert stop.wait(1)
    assert signal.getsignal(number) == signal.SIG_DFL
  assert signal.getsignal(number) == before


def test_what_nohup_ignores_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with StopOnSignal() as stop:
      os.kill(os.getpid(), signal.SIGHUP)
      assert not stop.wait(0.1)
  finally:
    signal.signal(signal.SIGHUP, before)


class SignalOnDeath:
  """Sends a signal from where Python prints an error and forgets it."""

  def __init__(self, number):
    self.number = number

  def __del__(self):
    os.kill(os.getpid(), self.number)
    signal.sigtimedwait([], 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("send", [lambda n: os.kill(os.getpid(), n), lambda n: SignalOnDeath(n)])
def test_outside_the_training_it_is_one_line_and_status_130(send, number, monkeypatch, capsys):
  before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
  monkeypatch.setattr(sys, "argv", ["prog"])
  monkeypatch.setattr(thread_errors, "leave", lambda status: None)
  monkeypatch.setattr(thread_errors, "hush", lambda: None)
  monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)

  def main():
    send(number)
    signal.sigtimedwait([], 5)

  try:
    with pytest.raises(SystemExit) as ended:
      flags.run_main(main)
  finally:
    for which, handler in before.items():
      signal.signal(which, handler)
  assert ended.value.code == 130
  assert capsys.readouterr().err == (
    "interrupted; the same command goes on from the last checkpoint\n"
  )
