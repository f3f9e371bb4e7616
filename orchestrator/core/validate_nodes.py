"""Nodes: the fields that all types share, and which type each is. Source: spec "definition", Node."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.core.fields import (
    Check,
    anything,
    boolean,
    choice,
    duration,
    entries,
    fields,
    integer,
    is_a,
    items,
    name,
    take_fields,
    text,
)
from orchestrator.core.nodetype import NodeType
from orchestrator.core.pointer import child
from orchestrator.core.report import Code, Report, shown
from orchestrator.core.scope import NodeSpec, Scope
from orchestrator.core.validate_own import own_check
from orchestrator.core.validate_retry import check_retry

LATER_TYPES = frozenset(
    (
        *("decompose", "emit", "group_chat", "llm"),
        *("pull_request", "worktree"),
    )
)
# The names that values and conditions start from, and the words that CEL keeps for itself.
RESERVED = frozenset(
    (
        *("loop", "parallel", "var", "env", "inputs", "run", "item", "index"),
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        *("import", "let", "namespace", "package", "return", "void", "while"),
    )
)
MAX_NODE_CENTS = 100_000_000
MAX_SLOTS = 1_000_000
POOL_NAME = name(r"[a-z][a-z0-9-]{0,63}", "write a lower-case letter, then up to 63 of a-z, 0-9 and -")
_ID = name(r"[A-Za-z_][A-Za-z0-9_]{0,63}", "write a letter or _, then up to 63 letters, digits and _")


def _check_id(report: Report, pointer: str, value: Any) -> None:
    _ID(report, pointer, value)
    if isinstance(value, str) and value in RESERVED:
        report.add(pointer, Code.INVALID_NAME, f'"{value}" is a reserved word; choose another id')


def _check_join(report: Report, pointer: str, value: Any) -> None:
    if isinstance(value, dict):
        fields({"at_least": integer(1, 1_000_000)}, ("at_least",), what="a join")(report, pointer, value)
    elif is_a(report, pointer, value, str, dict) and value not in ("all", "any"):
        report.add(
            pointer, Code.INVALID_VALUE, f"{shown(value)} is no join; write all, any or {{at_least: n}}"
        )


def _check_degrade(report: Report, pointer: str, value: Any) -> None:
    known: dict[str, Check] = {"use": choice("last_success"), "max_age": duration(), "value": anything}
    fields(known, what="degrade")(report, pointer, value)
    if isinstance(value, dict) and ("use" in value) == ("value" in value):
        message = "degrade needs either use: last_success or a value; keep one of the two"
        report.add(pointer, Code.INVALID_VALUE, message)
    elif isinstance(value, dict) and "max_age" in value and "use" not in value:
        message = "a value has no age; leave max_age out, or write use: last_success"
        report.add(child(pointer, "max_age"), Code.INVALID_VALUE, message)


COMMON: Mapping[str, Check] = {
    "id": _check_id,
    "type": text(64),
    "name": text(200),
    "input_mapping": entries(r"(?s).{1,256}", "write 1 to 256 characters", anything),
    "timeout": duration(),
    "total_timeout": duration(),
    "heartbeat": duration(),
    "retry": check_retry,
    "error_port": boolean,
    "fallback": text(64),
    "join": _check_join,
    "side_effects": choice("none", "internal", "external"),
    "systems": items(text(64), unique=True),
    "idempotency_key": text(512),
    "estimated_cost_cents": integer(0, MAX_NODE_CENTS),
    "retain_output": boolean,
    "max_output_bytes": integer(1, 1 << 30),
    "on_large_output": choice("fail", "truncate"),
    "degrade": _check_degrade,
    "when": text(4_096),
    "queue": name(r"[A-Za-z0-9_.:-]{1,64}", "write 1 to 64 letters, digits, _ . : and -"),
    "priority": integer(0, 9),
    "pool": POOL_NAME,
    "slots": integer(1, MAX_SLOTS),
    "rate": fields(
        {"key": text(512), "limit": integer(1, 1_000_000), "per": duration()},
        ("key", "limit", "per"),
        what="a rate",
    ),
}
_OF_COMPENSATION: Mapping[str, Check] = {
    key: COMMON[key]
    for key in (
        *("name", "input_mapping", "timeout", "retry", "queue", "priority", "pool", "slots", "rate"),
        *("estimated_cost_cents", "max_output_bytes", "on_large_output"),
    )
}
_NONE = fields({"type": anything, "reason": text()}, ("reason",), what="compensate of type none")


def _compensation(types: Mapping[str, NodeType]) -> Check:
    def check(report: Report, pointer: str, value: Any) -> None:
        if isinstance(value, dict) and value.get("type") == "none":
            _NONE(report, pointer, value)
        elif is_a(report, pointer, value, dict):
            found = _check_typed(report, pointer, value, types, _OF_COMPENSATION, ("type",))
            if found is not None and not found.may_undo:
                able = ", ".join(sorted(name for name, type_ in types.items() if type_.may_undo))
                message = f"a node of type {found.type} cannot compensate; take one of {able}"
                report.add(child(pointer, "type"), Code.INVALID_VALUE, message)

    return check


def _undone_by(pointer: str, raw: Mapping[str, Any], types: Mapping[str, NodeType], node: NodeSpec) -> NodeSpec:
    """A node with its compensation, as far as it can be read."""
    inner = raw.get("compensate")
    type_ = types.get(str(inner.get("type"))) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or type_ is None or not type_.may_undo:
        return node
    return replace(
        node, undone_by=replace(node, pointer=child(pointer, "compensate"), raw=inner, type=type_)
    )


def check_nodes(
    report: Report, value: Any, types: Mapping[str, NodeType], max_nodes: int, scope: Scope
) -> None:
    """Report what is wrong with the nodes, each by itself, and read them into `scope`. Too many: none are read."""
    at = child(scope.pointer, "nodes")
    if not is_a(report, at, value, list):
        return
    if not value:
        report.add(at, Code.INVALID_VALUE, "there is no node; write at least one")
    if len(value) > max_nodes:
        message = f"there are {len(value)} nodes, {max_nodes} are allowed; split the workflow"
        report.add(at, Code.TOO_LARGE, message)
        return
    common = {**COMMON, "compensate": _compensation(types)}
    for no, raw in enumerate(value):
        pointer = child(at, no)
        if is_a(report, pointer, raw, dict):
            _take(report, pointer, raw, types, common, scope)


def _take(
    report: Report,
    pointer: str,
    raw: Mapping[str, Any],
    types: Mapping[str, NodeType],
    common: Mapping[str, Check],
    scope: Scope,
) -> None:
    before = report.count
    node_type = _check_typed(report, pointer, raw, types, common, ("id", "type"))
    node_id = raw.get("id")
    known = isinstance(node_id, str) and node_id != ""
    owns_id = known and node_id not in scope.numbers
    if known and not owns_id:
        first = scope.nodes[scope.numbers[str(node_id)]].pointer
        message = f"the id {shown(node_id)} is that of {first} too; give each node its own"
        report.add(child(pointer, "id"), Code.DUPLICATE_ID, message)
    if owns_id:
        scope.numbers[str(node_id)] = len(scope.nodes)
    sound = report.count == before
    node = NodeSpec(
        no=len(scope.nodes),
        pointer=pointer,
        id=str(node_id) if known else "",
        raw=raw,
        type=node_type,
        sound=sound,
        owns_id=owns_id,
    )
    scope.nodes.append(_undone_by(pointer, raw, types, node))


def _check_typed(
    report: Report,
    pointer: str,
    raw: Mapping[str, Any],
    types: Mapping[str, NodeType],
    common: Mapping[str, Check],
    required: tuple[str, ...],
) -> NodeType | None:
    """Check the fields of a node, shared and own; returns its type when there is such a one."""
    known = {**common, "type": text(64)}
    node_type = _type_of(report, child(pointer, "type"), raw.get("type"), types)
    if node_type is None:
        mine = {key: value for key, value in raw.items() if key in known}
        take_fields(report, pointer, mine, known, required, what="a node")
        return None
    own = {
        field.name: own_check(field)
        for field in node_type.fields
        if field.name not in known or field.name == "queue"
    }
    more = () if node_type.needs is None else node_type.needs(raw)
    needed = (*required, *(field.name for field in node_type.fields if field.required), *more)
    what, before = f"a node of type {node_type.type}", report.count
    meant = take_fields(report, pointer, raw, {**known, **own}, needed, what=what)
    _check_gates(report, pointer, raw, node_type)
    for group in node_type.one_of:
        if not any(key in raw or key in meant for key in group):
            message = f"{what} needs one of the fields {', '.join(group)}; add one"
            report.add(child(pointer, group[0]), Code.MISSING_FIELD, message)
    if node_type.mistakes is not None and report.count == before:
        for at, message in node_type.mistakes(raw):
            report.add(pointer + at, Code.INVALID_VALUE, message)
    return node_type


def _check_gates(report: Report, pointer: str, raw: Mapping[str, Any], node_type: NodeType) -> None:
    gates = ("pool", "rate") if node_type.container else ("pool", "rate", "total_timeout")
    for key in gates:
        if key in raw and node_type.inline:
            message = f"a node of type {node_type.type} takes no time and waits for nothing; leave {key} out"
            report.add(child(pointer, key), Code.INVALID_VALUE, message)
    if "slots" in raw and "pool" not in raw:
        report.add(child(pointer, "pool"), Code.MISSING_FIELD, "slots are those of a pool; name it")
    if "heartbeat" in raw and not node_type.beats:
        message = f"a node of type {node_type.type} gives no heartbeat; bound it with timeout, and leave heartbeat out"
        report.add(child(pointer, "heartbeat"), Code.INVALID_VALUE, message)


def _type_of(report: Report, pointer: str, value: Any, types: Mapping[str, NodeType]) -> NodeType | None:
    if not isinstance(value, str) or not value.strip():
        return None
    found = types.get(value)
    if found is None and value in LATER_TYPES:
        message = f"nodes of type {value} are not run by this version; known are {', '.join(sorted(types))}"
        report.add(pointer, Code.UNSUPPORTED_NODE_TYPE, message)
    elif found is None:
        hint = report.hint(value, [*types, *LATER_TYPES])
        message = f"{shown(value)} is no node type; known are {', '.join(sorted(types))}{hint}"
        report.add(pointer, Code.UNSUPPORTED_NODE_TYPE, message)
    return found
