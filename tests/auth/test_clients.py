"""Clients in the database: authentication, secret rotation and removal; signing keys."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from support.clock import FixedClock
from support.databases import Execute, MigratedDatabase, open_connection

from case_server.auth import clients as module
from case_server.auth.clients import AuthenticatedClient, ClientAuthenticator
from case_server.auth.hashing import generate_secret, hash_secret, verify_secret
from case_server.auth.local_issuer import LocalIssuer
from case_server.auth.refresh import CredentialRefresher, load_signing_keys
from case_server.auth.scopes import Scope
from case_server.auth.tokens import generate_signing_key
from case_server.auth.verifier import TokenVerifier
from case_server.db import auth_store
from case_server.db.pool import Database
from case_server.exceptions import Conflict, NotFound, Unauthorized
from case_server.settings import Settings

HERE = "10.0.0.1"
SECRET, OTHER = generate_secret(), generate_secret()
HASH, OTHER_HASH = hash_secret(SECRET), hash_secret(OTHER)
READ = frozenset({Scope.READONLY})

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture(scope="module")
def own_url(migrated_database: MigratedDatabase) -> str:
    """The URL of a database whose signing keys are not those of the application."""
    return migrated_database("clients")


@pytest.fixture(scope="module")
async def database(own_url: str, settings: Settings) -> AsyncIterator[Database]:
    async with Database.open(own_url, settings) as pool:
        yield pool


@pytest.fixture(scope="module")
async def execute(own_url: str) -> AsyncIterator[Execute]:
    async with open_connection(own_url) as connection:
        yield connection.fetch


@pytest.fixture
def clients(database: Database, clock: FixedClock) -> ClientAuthenticator:
    first = Settings(client_id="first", client_secret=SecretStr("first-secret"))
    return ClientAuthenticator(first, database, clock=clock)


@pytest.fixture
async def robot(database: Database) -> str:
    await auth_store.add_client(database, "robot", "A robot", [Scope.READONLY], HASH)
    return "robot"


async def test_hash_is_salted_and_slow() -> None:
    assert len(SECRET) == 43
    assert hash_secret(SECRET) != HASH
    assert SECRET not in HASH
    assert HASH.startswith(f"scrypt${2**14}$8$1$")  # some fifty milliseconds for each guess
    assert verify_secret(SECRET, HASH)
    assert not verify_secret(OTHER, HASH)
    assert not verify_secret("", HASH)


async def test_wrong_secret_does_not_authenticate(clients: ClientAuthenticator, robot: str) -> None:
    client = await clients.authenticate([(robot, "x"), (robot, SECRET)], HERE)
    assert client == AuthenticatedClient(robot, READ)
    for readings in ([], [(robot, OTHER)], [("unknown", SECRET)], [("un\0known", "")], [("", "")]):
        assert await clients.authenticate(readings, "10.0.0.2") is None


async def test_configured_client_has_all_scopes(clients: ClientAuthenticator) -> None:
    first = await clients.authenticate([("first", "first-secret")], HERE)
    assert first == AuthenticatedClient("first", frozenset(Scope))
    assert await clients.find_scopes("first") == frozenset(Scope)


async def test_secret_is_hashed(clients: ClientAuthenticator, robot: str, execute: Execute) -> None:
    await clients.authenticate([(robot, SECRET)], HERE)
    rows = await execute("SELECT c::text || s::text FROM clients c, client_secrets s")
    assert "scrypt$" in rows[0][0]
    assert SECRET not in rows[0][0]
    assert SECRET not in repr(vars(clients))


async def test_verified_secret_is_cached(
    clients: ClientAuthenticator, robot: str, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counting(secret: str, stored: str) -> bool:
        hashed.append(secret)
        return verify_secret(secret, stored)

    monkeypatch.setattr(module, "verify_secret", counting)
    attempts = [clients.authenticate([(robot, SECRET)], HERE) for _ in range(20)]
    assert await asyncio.gather(*attempts) == [AuthenticatedClient(robot, READ)] * 20
    assert hashed == [SECRET]
    clock.now += 301
    assert await clients.authenticate([(robot, SECRET)], HERE)
    assert hashed == [SECRET] * 2


async def test_event_loop_runs_while_hashing(
    clients: ClientAuthenticator, robot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_started, has_ticked = threading.Event(), threading.Event()

    def waiting(secret: str, stored: str) -> bool:
        """Verify a secret once the event loop has run meanwhile, or fail after 30 seconds."""
        has_started.set()
        assert has_ticked.wait(30), "the event loop did not run"
        return verify_secret(secret, stored)

    async def tick() -> None:
        while not has_started.is_set():  # noqa: ASYNC110  set in a thread
            await asyncio.sleep(0.001)
        has_ticked.set()

    monkeypatch.setattr(module, "verify_secret", waiting)
    attempts = (clients.authenticate([(robot, str(n))], f"10.1.{n}.1") for n in range(4))
    *rejected, _ = await asyncio.gather(*attempts, tick())
    assert rejected == [None] * 4
    assert has_ticked.is_set()


async def test_both_secrets_work_during_rotation(
    clients: ClientAuthenticator, database: Database, robot: str, execute: Execute
) -> None:
    await auth_store.rotate_client_secret(database, robot, OTHER_HASH, timedelta(hours=24))
    for secret in (SECRET, OTHER):
        assert await clients.authenticate([(robot, secret)], HERE)
    (client,) = await auth_store.list_clients(database)
    assert (client.secret_count, client.next_secret_expiry is not None) == (2, True)

    third = generate_secret()
    await auth_store.rotate_client_secret(database, robot, hash_secret(third), timedelta(hours=24))
    assert await clients.authenticate([(robot, SECRET)], HERE) is None
    for secret in (OTHER, third):
        assert await clients.authenticate([(robot, secret)], HERE)

    await execute("UPDATE client_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
    assert await clients.authenticate([(robot, OTHER)], HERE) is None
    assert await clients.authenticate([(robot, third)], HERE)


async def test_rotation_without_grace_ends_old_secret(
    clients: ClientAuthenticator, database: Database, robot: str
) -> None:
    assert await clients.authenticate([(robot, SECRET)], HERE)
    await auth_store.rotate_client_secret(database, robot, OTHER_HASH, timedelta(0))
    assert await clients.authenticate([(robot, SECRET)], HERE) is None
    assert await clients.authenticate([(robot, OTHER)], HERE)


async def test_invalid_client_operations_raise(database: Database, robot: str) -> None:
    with pytest.raises(Conflict, match="client rotate robot"):
        await auth_store.add_client(database, robot, None, [], OTHER_HASH)
    with pytest.raises(NotFound, match="unknown"):
        await auth_store.rotate_client_secret(database, "unknown", OTHER_HASH, timedelta(0))
    with pytest.raises(NotFound, match="unknown"):
        await auth_store.delete_client(database, "unknown")


async def rotate_key(database: Database, *, delete_older: bool = False) -> str:
    """Store a new signing key, and return its ID."""
    new = generate_signing_key()
    await auth_store.rotate_signing_key(
        database, new.kid, new.private_pem, delete_older=delete_older
    )
    return new.kid


@pytest.fixture
async def issuer(database: Database, execute: Execute) -> AsyncIterator[LocalIssuer]:
    async def reload() -> Any:
        return await load_signing_keys(database)

    await rotate_key(database)
    yield LocalIssuer(await reload(), "http://case.test", 3600, load_keys=reload)
    await execute("DELETE FROM signing_keys")


async def test_tokens_of_removed_client_are_rejected(
    clients: ClientAuthenticator, database: Database, robot: str, issuer: LocalIssuer
) -> None:
    verifier = TokenVerifier(issuer, [], find_scopes=clients.find_scopes)
    follower = CredentialRefresher(database, issuer, verifier)
    await follower.refresh()
    token, _ = issuer.issue(robot, READ)
    assert (await verifier.verify(token)).client_id == robot

    await follower.refresh()
    assert verifier.get_cached_caller(token)
    await auth_store.delete_client(database, robot)
    await follower.refresh()
    assert verifier.get_cached_caller(token) is None
    with pytest.raises(Unauthorized, match="its client was removed"):
        await verifier.verify(token)


async def test_token_scopes_are_limited_to_client_scopes(
    clients: ClientAuthenticator, robot: str, issuer: LocalIssuer
) -> None:
    verifier = TokenVerifier(issuer, [], find_scopes=clients.find_scopes)
    token, _ = issuer.issue(robot, frozenset(Scope))
    assert (await verifier.verify(token)).scopes == READ


async def test_new_key_is_loaded_by_other_process(
    clients: ClientAuthenticator, database: Database, issuer: LocalIssuer
) -> None:
    verifier = TokenVerifier(issuer, [], find_scopes=clients.find_scopes)
    before, _ = issuer.issue("first", READ)
    new = await rotate_key(database)
    other_issuer = LocalIssuer(await load_signing_keys(database), issuer.url, 3600)
    after, _ = other_issuer.issue("first", READ)

    assert other_issuer.key_ids[-1] == new != issuer.key_ids[-1]
    assert await verifier.verify(after)
    assert issuer.key_ids[-1] == new
    assert await verifier.verify(before)


async def test_tokens_of_deleted_key_are_rejected(
    clients: ClientAuthenticator, database: Database, issuer: LocalIssuer
) -> None:
    verifier = TokenVerifier(issuer, [], find_scopes=clients.find_scopes)
    follower = CredentialRefresher(database, issuer, verifier)
    token, _ = issuer.issue("first", READ)
    await verifier.verify(token)
    new = await rotate_key(database, delete_older=True)
    await follower.refresh()
    assert issuer.key_ids == [new]
    with pytest.raises(Unauthorized, match="does not have"):
        await verifier.verify(token)


async def test_expired_keys_are_deleted(
    database: Database, issuer: LocalIssuer, execute: Execute
) -> None:
    for age in ("90", "60", "20"):
        insert = f"INSERT INTO signing_keys VALUES ($1, $2, now() - interval '{age} hours')"
        await execute(insert, f"{age} hours old", generate_signing_key().private_pem)
    new = await rotate_key(database)
    key_ids = {key.kid for key in await auth_store.list_signing_keys(database)}
    assert "90 hours old" not in key_ids
    assert {"60 hours old", "20 hours old", new} <= key_ids
