"""Clients and the hashes of their secrets, which live with the data they protect."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Interval, Text, and_, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from ..exceptions import Conflict, NotFound
from .schema.tables import client_secrets, clients
from .statement import CompiledStatement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from .pool import Connection, Database


class StoredClient(NamedTuple):
    """What a client may do, and the hashes of those of its secrets that are valid now."""

    scopes: list[str]
    hashes: list[str]


class ClientSummary(NamedTuple):
    """A client as ``client list`` shows it."""

    identifier: str
    name: str | None
    scopes: list[str]
    created_at: datetime
    secrets: int
    next_end: datetime | None
    """When the first of its secrets stops being valid, if one does."""


LIVE = or_(client_secrets.c.expires_at.is_(None), client_secrets.c.expires_at > func.now())
OWN = clients.c.identifier == client_secrets.c.client_identifier

ONE = CompiledStatement(
    select(clients.c.scopes, client_secrets.c.hash)
    .select_from(clients.outerjoin(client_secrets, and_(OWN, LIVE)))
    .where(clients.c.identifier == bindparam("identifier", required=True))
)
ALL = CompiledStatement(
    select(
        clients.c.identifier,
        clients.c.name,
        clients.c.scopes,
        clients.c.created_at,
        func.count(client_secrets.c.hash).label("secrets"),
        func.min(client_secrets.c.expires_at).label("next_end"),
    )
    .select_from(clients.outerjoin(client_secrets, and_(OWN, LIVE)))
    .group_by(clients.c.identifier)
    .order_by(clients.c.identifier)
)
ADD = CompiledStatement(
    insert(clients)
    .values(
        identifier=bindparam("identifier", type_=Text),
        name=bindparam("name", type_=Text),
        scopes=bindparam("scopes", type_=ARRAY(Text)),
    )
    .on_conflict_do_nothing()
    .returning(clients.c.identifier)
)
ADD_SECRET = CompiledStatement(
    insert(client_secrets).values(
        client_identifier=bindparam("identifier", type_=Text), hash=bindparam("hash", type_=Text)
    )
)
REMOVE = CompiledStatement(
    delete(clients)
    .where(clients.c.identifier == bindparam("identifier", type_=Text, required=True))
    .returning(clients.c.identifier)
)
LOCK = CompiledStatement(
    select(clients.c.identifier)
    .where(clients.c.identifier == bindparam("identifier", type_=Text, required=True))
    .with_for_update()
)
_owner = client_secrets.c.client_identifier == bindparam("identifier", type_=Text, required=True)
_newest = (
    select(client_secrets.c.hash)
    .where(_owner)
    .order_by(client_secrets.c.created_at.desc())
    .limit(1)
    .scalar_subquery()
)
DROP_OLDER = CompiledStatement(
    delete(client_secrets).where(_owner, or_(client_secrets.c.hash != _newest, ~LIVE))
)
END_OLD = CompiledStatement(
    update(client_secrets)
    .where(_owner)
    .values(
        expires_at=func.least(
            client_secrets.c.expires_at,
            func.now() + bindparam("keep", type_=Interval, required=True),
        )
    )
)


async def find_client(database: Database, identifier: str) -> StoredClient | None:
    """The client of this identifier."""
    rows = await database.fetch_all(ONE, identifier=identifier)
    if not rows:
        return None
    return StoredClient(list(rows[0]["scopes"]), [row["hash"] for row in rows if row["hash"]])


async def list_clients(database: Database) -> list[ClientSummary]:
    """All clients, by their identifiers."""
    return [ClientSummary(**row) for row in await database.fetch_all(ALL)]


async def add_client(
    database: Database, identifier: str, name: str | None, scopes: Sequence[str], secret_hash: str
) -> None:
    """Store a client and its first secret; ``Conflict`` if it is here already."""

    async def work(connection: Connection) -> bool:
        values = {"identifier": identifier, "name": name, "scopes": list(scopes)}
        async with connection.transaction():
            if not await connection.fetchval(ADD.sql, *ADD.bind(values)):
                return False
            await _add_secret(connection, identifier, secret_hash)
            return True

    if not await database.run_write(work, f"client {identifier}"):
        raise Conflict(
            f"the client {identifier!r} is here already; "
            f"case-server client rotate {identifier} gives it a new secret"
        )


async def rotate_client_secret(
    database: Database, identifier: str, secret_hash: str, keep: timedelta
) -> None:
    """Store a new secret; the last one stays valid for ``keep``, those before it end now."""

    async def work(connection: Connection) -> bool:
        values = {"identifier": identifier, "keep": keep}
        async with connection.transaction():
            if not await connection.fetchval(LOCK.sql, *LOCK.bind(values)):
                return False
            for statement in (DROP_OLDER, END_OLD):
                await connection.execute(statement.sql, *statement.bind(values))
            await _add_secret(connection, identifier, secret_hash)
            return True

    if not await database.run_write(work, f"client {identifier}"):
        raise NotFound("client", identifier, "case-server client list shows who is here")


async def remove_client(database: Database, identifier: str) -> None:
    """Forget a client and its secrets."""
    if not await database.execute(REMOVE, identifier=identifier):
        raise NotFound("client", identifier, "case-server client list shows who is here")


async def _add_secret(connection: Connection, identifier: str, secret_hash: str) -> None:
    values = {"identifier": identifier, "hash": secret_hash}
    await connection.execute(ADD_SECRET.sql, *ADD_SECRET.bind(values))
