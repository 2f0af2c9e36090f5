"""PostgreSQL's driver with an end to its patience.

A server whose machine or disk hangs takes connections and answers nothing: its own timeouts do not run, and the
kernel still acknowledges what is sent to it. Only the client can notice. After a while it gives the connection
up, as if the server had closed it, so that no request waits for ever and no thread is lost.
"""

from typing import Any

from psycopg import Connection, OperationalError
from psycopg.errors import _WaitTimeout
from sqlalchemy import Engine, event


class ImpatientConnection(Connection[Any]):
    """A connection that ends itself when the server leaves a request unanswered for `patience_seconds`."""

    patience_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server as the driver does; raises OperationalError when the time is over."""
        try:
            return super().wait(gen, interval, timeout or self.patience_seconds)
        except _WaitTimeout:
            self.pgconn.finish()  # what it was asked may still be done: nobody may take the answer for another's
            raise OperationalError("the server does not answer") from None


def bound_waiting(engine: Engine, seconds: float) -> None:
    """Make every connection of the engine give up on an answer after so long."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> ImpatientConnection:
        connection = ImpatientConnection.connect(*arguments, **options)
        connection.patience_seconds = seconds
        return connection
