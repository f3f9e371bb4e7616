"""How a gateway knows our work: keys of sessions and of attempts, in lower case, as gateways make them anyway.

Source: spec "gateway" §4, Sessions and concurrency, Idempotency and recovery.
"""

import hashlib
import re

_NOT_IN_KEYS = re.compile(r"[^a-z0-9._-]+")
_REGISTERED = "agent:"


def agent_id(name: str, session_key: str | None) -> str:
    """What a gateway calls a registered agent: the second part of its `agent:<id>:…`, else its name."""
    if session_key is not None and session_key.startswith(_REGISTERED):
        found = session_key.split(":")[1].strip()
        if found:
            return found.lower()
    return name.lower()


def session_key(run_id: str, path: str, attempt: int, session: str, agent: str) -> str:
    """`agent:<agent>:wf-<run>-…`. session: `attempt`, `run`, or the name of one that is kept across steps."""
    run = f"agent:{agent}:wf-{run_id.lower()}"
    match session:
        case "attempt":
            return f"{run}-{_slug(path)}-a{attempt}"
        case "run":
            return run
        case name:
            return f"{run}-session-{_slug(name)}"


def attempt_key(workspace_id: str, run_id: str, step_key: str, attempt: int) -> str:
    """One for each attempt, since gateways keep errors under it too; one gateway serves many workspaces."""
    return f"{step_key if step_key.startswith(run_id) else f'{workspace_id}:{step_key}'}:{attempt}"


def _slug(text: str) -> str:
    """`text` as a part of a session key; where that changes it, a digest keeps it apart from others."""
    slug = _NOT_IN_KEYS.sub("-", text.lower())
    return slug if slug == text else f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
