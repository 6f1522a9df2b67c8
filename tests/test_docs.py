"""The documentation is true: its code runs, its commands exist, its links lead somewhere."""

import functools
import pathlib
import re

import jax
import pytest

import rc_jax

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("trained/*.md"), *(ROOT / "docs").rglob("*.md")])
# What `experiments.reproduce` writes; its commands are those of the revisions that its pages name.
WRITTEN = [p for p in PAGES if not p.is_relative_to(ROOT / "docs" / "results")]


def name_of(page):
  return str(page.relative_to(ROOT))


def python_blocks(page):
  """The blocks of a page, each with the line that it starts at."""
  text = page.read_text()
  for match in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S):
    yield text[: match.start(1)].count("\n"), match[1]


@pytest.fixture
def usual_promotion():
  """As a user's JAX has it: optax's Adam relies on it."""
  with jax.numpy_dtype_promotion("standard"):
    yield


# The sizes of the README's lines, which test_packaging.py runs as they are, and others in their
# place: a page's code runs for a moment.
SMALLER = {"range(100)": "range(2)", "1000": "40", "500": "20"}


@pytest.mark.parametrize("page", [p for p in WRITTEN if list(python_blocks(p))], ids=name_of)
def test_the_code_of_a_page_runs(page, usual_promotion):
  namespace = {"__name__": "__page__"}
  for line, code in python_blocks(page):
    if name_of(page) == "README.md" and "make_train" in code:
      code = code.partition("\n")[0]  # the imports; test_packaging.py runs all of it
    if name_of(page) == "docs/index.md":
      for size, smaller in SMALLER.items():
        code = code.replace(size, smaller)
    exec(compile("\n" * line + code, page, "exec"), namespace)


# Of absl itself, and of the tools beside ours in the text.
FOREIGN_FLAGS = {"help", "helpfull", "verbosity", "strict"}


@functools.cache
def flags_of(path):
  """Names of the flags that a file defines, by absl or by argparse."""
  text = path.read_text()
  names = re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", text)
  return {*names, *re.findall(r"add_argument\(\s*\"--([\w-]+)\"", text)}


def sources(module):
  """The files that a module's flags may be defined in."""
  path = ROOT / module.replace(".", "/")
  files = [path.with_suffix(".py")] if path.with_suffix(".py").exists() else []
  if (path / "__main__.py").exists():
    files += path.glob("*.py")
  assert files, f"there is no module {module}"
  shared = {"deploy": "deploy/commands.py"}.get(
    module.partition(".")[0], "experiments/harness/flags.py"
  )
  return [*files, ROOT / shared]


def commands(page):
  """Modules, their first word and their flags, of the commands in a page's text."""
  text = re.sub(r"\\\n\s*", " ", page.read_text())
  for match in re.finditer(r"python -m ((?:experiments|benchmarks|deploy)\.\w+)([^\n`#|]*)", text):
    words = match[2].split()
    first = words[0] if words and re.fullmatch(r"[a-z_]+", words[0]) else None
    yield match[1], first, re.findall(r"(?<![\w-])--([a-z][\w-]*)", match[2])


@pytest.mark.parametrize("page", [p for p in WRITTEN if list(commands(p))], ids=name_of)
def test_commands_name_modules_and_flags_that_exist(page):
  for module, first, flags in commands(page):
    files = sources(module)
    if module in ("experiments.population", "experiments.sweep") and first:
      files += sources(f"experiments.{first}")
    if module == "experiments.rivals":  # its --flags are those of an experiment
      files += sources("experiments.speech")
    known = set().union(*map(flags_of, files)) | FOREIGN_FLAGS
    assert set(flags) <= known, f"{module} has no flag {set(flags) - known}"


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_every_flag_in_the_text_exists_somewhere(page):
  files = [
    f for room in ("experiments", "benchmarks", "deploy") for f in (ROOT / room).rglob("*.py")
  ]
  known = set().union(*map(flags_of, files)) | FOREIGN_FLAGS
  assert set(re.findall(r"`--([a-z]\w*)", page.read_text())) <= known


@functools.cache
def prose(page):
  """A page without its code, in which brackets are no links."""
  text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
  return re.sub(r"`[^`\n]*`", "code", text)


@functools.cache
def anchors(page):
  """The anchors of a page's headings, as both the site and a forge make them."""
  text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
  headings = re.findall(r"^#+ (.*)$", text, re.M)
  plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
  words = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in plain]
  return {re.sub(r"[\s-]+", "-", heading) for heading in words}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
  for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
    if "://" in target:
      continue
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    assert linked.is_file(), f"{name_of(page)} links to {target}"
    if page.is_relative_to(ROOT / "docs"):
      assert linked.is_relative_to(ROOT / "docs"), f"{target} is not a part of the site"
    if anchor:
      assert anchor in anchors(linked), f"{name_of(page)}: no such heading: {target}"


def test_the_site_has_every_page():
  named = re.findall(r"(?:- |: )(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
  pages = [str(p.relative_to(ROOT / "docs")) for p in PAGES if p.is_relative_to(ROOT / "docs")]
  assert sorted(named) == sorted(pages)


def test_the_index_of_decisions_has_every_page():
  index = (ROOT / "BUILD_NOTES.md").read_text()
  for page in (ROOT / "docs" / "decisions").glob("*.md"):
    assert f"({name_of(page)})" in index


def test_the_api_page_has_every_public_name():
  page = (ROOT / "docs" / "api.md").read_text()
  assert set(rc_jax.__all__) <= set(re.findall(r"(?:^::: rc_jax\..*?|`)(\w+)(?:$|\W)", page, re.M))
