"""The methods on agents, their files, and devices. Source: spec "gateway" §3 and §5."""

from collections.abc import Mapping
from typing import Any

from orchestrator.gateway.agents import Agents
from orchestrator.gateway.files import Files
from orchestrator.gateway.methods import ADMIN, PAIRING, READ, Table, answering
from orchestrator.gateway.pairing import Devices


class AgentMethods:
    """Reads and writes who there is."""

    def __init__(self, agents: Agents, files: Files) -> None:
        self._agents = agents
        self._files = files

    def table(self) -> Table:
        return {
            "agents.create": (ADMIN, answering(self._agents.create)),
            "agents.delete": (ADMIN, answering(self._agents.delete)),
            "agents.files.get": (READ, answering(self._file)),
            "agents.files.list": (READ, answering(self._list_files)),
            "agents.files.set": (ADMIN, answering(self._set_file)),
            "agents.list": (READ, answering(self._list)),
            "agents.update": (ADMIN, answering(self._agents.update)),
        }

    def _list(self, _params: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            "defaultId": "main",
            "mainKey": "main",
            "scope": "per-sender",
            "agents": self._agents.list(),
        }

    def _list_files(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        where = self._where(params)
        return where | {"files": self._files.list(where["agentId"], where["workspace"])}

    def _file(self, params: Mapping[str, Any]) -> dict[str, Any]:
        where = self._where(params)
        return where | {"file": self._files.get(where["agentId"], where["workspace"], params["name"])}

    def _set_file(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        where = self._where(params)
        self._files.put(where["agentId"], params["name"], params["content"], params.get("expectedHash"))
        return {"ok": True} | self._file(params)

    def _where(self, params: Mapping[str, Any]) -> dict[str, str]:
        agent = params["agentId"].lower()
        return {"agentId": agent, "workspace": self._agents.workspace(agent)}


def device_table(devices: Devices) -> Table:
    """The methods by which an operator lets devices in."""
    return {
        "device.pair.approve": (PAIRING, answering(lambda params: devices.approve(params["requestId"]))),
        "device.pair.list": (PAIRING, answering(lambda _: devices.list())),
    }
