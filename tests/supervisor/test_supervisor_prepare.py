"""What is made before the parts start: schema, key, the local gateway's row."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from models.database import Database
from models.gateway import Gateway
from orchestrator.settings import Settings
from orchestrator.supervisor.prepare import prepare


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_the_local_gateway_is_made_once_and_where_it_is_wanted(
    kind: str, new_database: Callable[..., str], tmp_path: Path
) -> None:
    url = new_database(kind, migrated=False)
    settings = Settings(database_url=url, data_dir=tmp_path, secret_key="a secret key of tests alone")

    def rows() -> list[tuple[str, str]]:
        database = Database(url)
        with database.read() as session:
            found = [(row.name, row.kind) for row in session.scalars(select(Gateway))]
        database.close()
        return found

    prepare(settings)
    key = (tmp_path / "admin.key").read_text()
    assert rows() == []
    for _ in range(2):
        prepare(settings, gateway=True)
        assert rows() == [("local", "local")]
    assert (tmp_path / "admin.key").read_text() == key
