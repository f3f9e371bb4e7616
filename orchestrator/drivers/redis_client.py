"""Clients of Redis and Valkey by the URLs that Celery takes, unix sockets too."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def connect(url: str, *, timeout: float, **options: Any) -> redis.Redis:
    """A client that tries each command once, for at most `timeout` seconds. Connects when it is first used."""
    more: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": timeout, **options}
    found = urlsplit(url)
    if found.scheme != "redis+socket":
        return redis.Redis.from_url(url, socket_connect_timeout=min(2.0, timeout), **more)
    asked = parse_qs(found.query)
    number = int(asked.get("virtual_host", ["0"])[0])
    password = asked["password"][0] if "password" in asked else None
    return redis.Redis(unix_socket_path=unquote(found.path), db=number, password=password, **more)
