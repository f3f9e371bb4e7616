"""The way from the command line to the API."""

from models.errors import SettingsError
from orchestrator.client import Client
from orchestrator.settings import Settings, load

_RETRIES = 2  # somebody waits at the terminal: half a second, then the sentence


def connect(settings: Settings | None = None) -> Client:
    """A client by the settings; the key is ORCHESTRATOR_API_KEY, else that of `orchestrator up`.

    Raises SettingsError for a key that can't be one.
    """
    settings = settings or load()
    key_file = settings.data_dir / "admin.key"
    key = settings.api_key or (key_file.read_text() if key_file.exists() else None)
    try:
        return Client(settings.url, api_key=key, retries=_RETRIES)
    except ValueError as error:
        raise SettingsError(str(error)) from error
