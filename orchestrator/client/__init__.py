"""The client of the HTTP API: `with Client("http://…", api_key="…") as client: …`; docs/client.md shows its use."""

from orchestrator.client.client import Client as Client
from orchestrator.client.errors import ApiError as ApiError
from orchestrator.client.errors import ClientError as ClientError
from orchestrator.client.errors import Conflict as Conflict
from orchestrator.client.errors import ConnectionFailed as ConnectionFailed
from orchestrator.client.errors import Forbidden as Forbidden
from orchestrator.client.errors import Invalid as Invalid
from orchestrator.client.errors import NotFound as NotFound
from orchestrator.client.errors import RateLimited as RateLimited
from orchestrator.client.errors import RunFailed as RunFailed
from orchestrator.client.errors import ServerError as ServerError
from orchestrator.client.errors import TimedOut as TimedOut
from orchestrator.client.errors import Unauthorized as Unauthorized
from orchestrator.client.errors import Unavailable as Unavailable
from orchestrator.client.errors import UnexpectedAnswer as UnexpectedAnswer
from orchestrator.client.errors import WaitTimedOut as WaitTimedOut
