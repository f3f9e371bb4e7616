"""setup.cfg declares what the packages import, no less and no more."""

import ast
import re
import sys
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {
    "models", "orchestrator", "tasks", "api", "celeryconfig", "beat_schedule", "tests", "benchmarks", "examples",
}  # fmt: skip
NAMED = [
    "celery", "redis", "kombu", "sqlalchemy", "psycopg2-binary", "flask", "marshmallow", "networkx",
    "websocket-client", "flower", "pytest",
]  # fmt: skip
# Started by command line or loaded by name: no import shows them.
STARTED = {
    "gunicorn": '"-m", "gunicorn"',
    "flower": "[celery, -A, tasks.app, flower",
    "pytest": "[tool:pytest]",
    "psycopg2-binary": "postgresql+psycopg2",
    "tzdata": "from zoneinfo import ZoneInfo",  # whose zones it has where the system has none
}


def config() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def names(requirements: str) -> set[str]:
    found = re.findall(r"^\s*([A-Za-z0-9._-]+)", requirements, re.MULTILINE)
    return {name.lower().replace("_", "-") for name in found}


def declared() -> set[str]:
    return names(config()["options"]["install_requires"])


def sources(*tops: str) -> list[Path]:
    return [path for top in tops for path in (ROOT / top).rglob("*.py")] + [
        path for path in ROOT.glob("*.py") if path.stem in OURS
    ]


def imported(paths: list[Path]) -> dict[str, set[str]]:
    """Top-level module → the files that import it."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
            for module in modules:
                found.setdefault(module.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


def third_party(paths: list[Path]) -> dict[str, set[str]]:
    """Distribution → the files that import it."""
    known = packages_distributions()
    found: dict[str, set[str]] = {}
    for module, files in imported(paths).items():
        if module in sys.stdlib_module_names or module in OURS:
            continue
        for name in known.get(module, [module]):
            found.setdefault(name.lower().replace("_", "-"), set()).update(files)
    return found


def test_every_import_of_the_packages_is_declared() -> None:
    given = config()["options.extras_require"]
    extras = names(given["embedded"]) | names(given["nats"])
    missing = {
        name: sorted(files)
        for name, files in third_party(sources("models", "orchestrator", "tasks", "api")).items()
        if name not in declared() | extras
    }
    assert missing == {}


def test_every_import_of_tests_and_benchmarks_is_declared() -> None:
    extras = config()["options.extras_require"]
    known = declared() | names(extras["embedded"]) | names(extras["dev"])
    missing = {
        name: sorted(files)
        for name, files in third_party(sources("tests", "benchmarks")).items()
        if name not in known
    }
    assert missing == {}


@pytest.mark.parametrize("name", sorted(declared()))
def test_every_declared_distribution_is_used(name: str) -> None:
    if name in third_party(sources("models", "orchestrator", "tasks", "api")):
        return
    texts = [path.read_text() for path in sources("models", "orchestrator", "tasks", "api")]
    texts += [(ROOT / other).read_text() for other in ("setup.cfg", "docker-compose.yml", "Makefile")]
    words = STARTED.get(name, f"{name} is imported nowhere")
    assert any(words in text for text in texts), f"{name} is declared, but nothing imports or starts it"


@pytest.mark.parametrize("name", NAMED)
def test_the_named_distributions_are_declared(name: str) -> None:
    assert name in declared()


def test_packages_carry_their_data_files() -> None:
    suffixes = {
        path.suffix for top in ("models", "orchestrator", "tasks", "api") for path in (ROOT / top).rglob("*")
    }
    carried = set(re.findall(r"\*(\.\w+)|(?<![\w*])(py\.typed)", config()["options.package_data"]["*"]))
    patterns = {suffix for pair in carried for suffix in pair if suffix}
    assert {s for s in suffixes if s not in {".py", ".pyc", ".typed", ""}} <= patterns
