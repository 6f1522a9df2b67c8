"""Large pages: who is told of them, and that the setting is the one that glibc obeys."""

import os
import subprocess
import sys

import pytest

from experiments.harness import large_pages

TOUCH = """
import ctypes, mmap, resource
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
size = 64 << 20
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
ctypes.memset(ctypes.c_void_p(libc.malloc(size)), 1, size)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(environment):
  given = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | environment
  out = subprocess.run([sys.executable, "-c", TOUCH], env=given, capture_output=True, text=True)
  return int(out.stdout)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
  path = tmp_path / "enabled"
  path.write_text("always [madvise] never\n")
  monkeypatch.setattr(large_pages, "_KERNEL", path)
  monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.36"))
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  return path


def test_advice_is_for_whom_it_helps(kernel, monkeypatch):
  assert "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 before the command" in large_pages.advise()
  for state in ("[always] madvise never", "always madvise [never]"):  # has them, or never will
    kernel.write_text(state)
    assert large_pages.advise() is None
  kernel.write_text("always [madvise] never")
  for libc in (("", ""), ("glibc", "2.31")):
    monkeypatch.setattr("platform.libc_ver", lambda libc=libc: libc)
    assert large_pages.advise() is None
  monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.36"))
  kernel.unlink()
  assert large_pages.advise() is None


def test_a_setting_of_the_users_own_stands(kernel, monkeypatch):
  monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
  assert large_pages.make_environment() == {} and large_pages.advise() is None


def test_the_setting_works_on_this_machine(monkeypatch):
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  if large_pages.advise() is None:
    pytest.skip("this machine has no glibc with large pages on demand, or computes elsewhere")
  assert faults(large_pages.make_environment()) < faults({}) / 4
