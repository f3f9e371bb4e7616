"""The triggers that keep run events as they were written, on both databases.

UPDATE is refused always, DELETE while the run's row is there, TRUNCATE (PostgreSQL) always. The triggers are
`ENABLE ALWAYS`, so that `session_replication_role` does not switch them off. Their function names its schema:
a temporary table called `run` cannot stand in for the real one. Source: spec "engine", Two kinds of events.
"""

from alembic import op
from sqlalchemy import text

_SQLITE: tuple[str, ...] = (
    """CREATE TRIGGER event_refuse_update BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'run events are append-only: they leave with their run alone'); END""",
    """CREATE TRIGGER event_refuse_delete BEFORE DELETE ON event
    WHEN EXISTS (SELECT 1 FROM run WHERE run.id = OLD.run_id)
    BEGIN SELECT RAISE(ABORT, 'run events are append-only: they leave with their run alone'); END""",
)
_FUNCTION = """
CREATE FUNCTION event_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    PERFORM 1 FROM run WHERE run.id = OLD.run_id;
    IF NOT FOUND THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION 'run events are append-only: they leave with their run alone'
    USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
_POSTGRESQL = (
    """CREATE TRIGGER event_refuse_row BEFORE UPDATE OR DELETE ON event
    FOR EACH ROW EXECUTE FUNCTION event_refuse()""",
    "CREATE TRIGGER event_refuse_truncate BEFORE TRUNCATE ON event EXECUTE FUNCTION event_refuse()",
    "ALTER TABLE event ENABLE ALWAYS TRIGGER event_refuse_row",
    "ALTER TABLE event ENABLE ALWAYS TRIGGER event_refuse_truncate",
)


def protect() -> None:
    """Create the triggers; also after SQLite's batch mode has made the table anew, which drops them."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        statements = _SQLITE
    else:
        schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
        statements = (_FUNCTION.format(schema=schema), *_POSTGRESQL)
    for statement in statements:
        op.execute(statement)


def release() -> None:
    """Drop what `protect` made beside the table; its triggers go with the table."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION event_refuse()")
