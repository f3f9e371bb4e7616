"""The agents of the local gateway: small, deterministic, and enough for the demo. Any other name echoes.

Each reads the step's input from the last line of the message.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

_INDUSTRIES = ("software", "logistics", "retail", "manufacturing", "healthcare", "finance", "energy", "media")
_SIZES = (12, 45, 120, 380, 900, 2400, 8500)
_SENIOR = ("chief", "ceo", "cto", "cfo", "coo", "vp", "head", "director", "founder", "owner")
_FREE_MAIL = ("gmail.", "yahoo.", "hotmail.", "outlook.", "gmx.", "proton")
_WISHES = ("demo", "pricing", "price", "buy", "quote", "trial", "contract", "budget")

Agent = Callable[[Mapping[str, Any]], str]


def answer(agent: str, message: str) -> str:
    """What the agent says to a message."""
    given = input_of(message)
    if agent in _AGENTS:
        return _AGENTS[agent](given)
    return json.dumps(given) if given else message.removeprefix("Task:\n")


def names() -> tuple[str, ...]:
    """The agents with a trade of their own."""
    return tuple(_AGENTS)


def input_of(message: str) -> Mapping[str, Any]:
    """The JSON object on the message's last line, else {}."""
    try:
        found = json.loads(message.rstrip().rpartition("\n")[2])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _researcher(given: Mapping[str, Any]) -> str:
    company = _find(given, "company", "organisation", "organization", "account") or "an unknown company"
    digest = hashlib.sha256(company.lower().encode()).digest()
    industry = _INDUSTRIES[digest[0] % len(_INDUSTRIES)]
    employees = _SIZES[digest[1] % len(_SIZES)]
    size = "small" if employees < 100 else "medium" if employees < 1000 else "large"
    return json.dumps(
        {
            "company": company,
            "industry": industry,
            "employees": employees,
            "size": size,
            "summary": f"{company} works in {industry} with about {employees} people.",
        }
    )


def _scorer(given: Mapping[str, Any]) -> str:
    title = _find(given, "title", "role", "position").lower()
    email = _find(given, "email").lower()
    wish = _find(given, "message", "note", "interest", "request").lower()
    found = [
        (25, "a decision maker", any(word in title for word in _SENIOR)),
        (20, "a company address", "@" in email and not any(f"@{free}" in email for free in _FREE_MAIL)),
        (25, "asks to buy or try", any(word in wish for word in _WISHES)),
        (15, "names a budget", _number(given, "budget") > 0),
        (10, "says what is wanted", len(wish) >= 20),
    ]
    score = 5 + sum(points for points, _, holds in found if holds)
    reasons = [reason for _, reason, holds in found if holds]
    return json.dumps({"score": score, "reason": ", ".join(reasons) or "little is known of this lead"})


def _notifier(given: Mapping[str, Any]) -> str:
    who = _find(given, "name", "contact", "email") or "A lead"
    company = _find(given, "company")
    score = _number(given, "score")
    route = _find(given, "route", "tier", "segment", "queue")
    line = f"{who}{f' of {company}' if company else ''} scored {score:g}"
    return json.dumps({"channel": "sales", "message": line + (f" and goes to {route}." if route else ".")})


_AGENTS: dict[str, Agent] = {
    "researcher": _researcher,
    "scorer": _scorer,
    "notifier": _notifier,
}


def _find(given: Any, *keys: str) -> str:
    """The first string under one of the keys, the outermost first."""
    level = [given]
    while level:
        for value in level:
            for key in keys:
                if isinstance(value, Mapping) and isinstance(value.get(key), str) and value[key]:
                    return str(value[key])
        level = _inner(level)
    return ""


def _number(given: Any, key: str) -> float:
    level = [given]
    while level:
        for value in level:
            found = value.get(key) if isinstance(value, Mapping) else None
            if isinstance(found, int | float) and not isinstance(found, bool):
                return float(found)
        level = _inner(level)
    return 0.0


def _inner(level: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in level:
        if isinstance(value, Mapping):
            found.extend(value.values())
        elif isinstance(value, list):
            found.extend(value)
    return found
