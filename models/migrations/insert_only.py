"""The triggers that let rows into a table and never let them go: those of the audit log, on both databases.

UPDATE, DELETE and TRUNCATE (PostgreSQL) are refused always. `ENABLE ALWAYS`: `session_replication_role` does not
switch them off. SQLite: INSERT OR REPLACE deletes without its trigger where a connection does not have
`recursive_triggers`, so that a row in the place of another is refused as well. Source: spec "reliability" §4.
"""

from alembic import op

_REFUSED = "the audit log is append-only: its rows stay as they were written"
_FUNCTION = f"""
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '{_REFUSED}' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_POSTGRESQL = (
    "CREATE TRIGGER {table}_refuse_row BEFORE UPDATE OR DELETE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION audit_refuse()",
    "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_refuse_row",
    "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_refuse_truncate",
)
_SQLITE = (
    "CREATE TRIGGER {table}_refuse_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{refused}'); END",
    "CREATE TRIGGER {table}_refuse_delete BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{refused}'); END",
    "CREATE TRIGGER {table}_refuse_replace BEFORE INSERT ON {table}"
    " WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key} OR rowid = NEW.rowid)"
    " BEGIN SELECT RAISE(ABORT, '{refused}'); END",
)


def protect(keys: dict[str, str]) -> None:
    """Create the triggers on tables, given with the column that each is keyed by."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(_FUNCTION)
    for table, key in keys.items():
        for statement in _SQLITE if sqlite else _POSTGRESQL:
            op.execute(statement.format(table=table, key=key, refused=_REFUSED))


def release() -> None:
    """Drop what `protect` made beside the tables; their triggers go with them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_refuse()")
