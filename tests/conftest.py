"""Fixtures: a Postgres server, the application, and HTTP clients with access tokens."""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import cache
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from sqlalchemy import make_url
from support.applications import authorize, create_client, run_app
from support.calls import Api
from support.databases import (
    EmptyDatabase,
    Execute,
    MigratedDatabase,
    NewDataDir,
    copy_data_dir,
    create_database,
    create_template,
    delete_all_rows,
    open_connection,
)
from support.environments import find_sdk_python
from support.external_issuer import ExternalIssuer
from support.pgbouncer import run_pgbouncer
from support.ram_disk import RAM_DISK, is_ram_disk_usable
from support.selection import DEFAULT_EXAMPLES

from case_server.api.profiles import PROFILES, ApiProfile
from case_server.db.pool import Database
from case_server.db.postgres.embedded import embedded_postgres
from case_server.db.postgres.ensure_schema import ensure_schema
from case_server.settings import Settings

# Garbage collection takes a sixth of the CPU time of imports and collection, and finds nothing,
# because both are permanent. ``pytest_collection`` enables it again.
gc.disable()

CLIENT = ("test-client", "test-secret")
# The Postgres servers of the tests have no TLS. Without this, each connection would first try it,
# and one that is cancelled meanwhile would leave an exception that fails another test.
os.environ.setdefault("PGSSLMODE", "disable")

# Without this, the servers and commands that tests start may compile the application each time,
# which takes 0.2 of the 1.3 CPU seconds of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# An HTTP client that is given no certificates loads those of all authorities, which takes 25 ms of
# CPU time. Nearly all clients of the tests are short-lived and never use TLS.
pytest.MonkeyPatch().setattr(
    "httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context)
)

# httpx tries to import it for each request, and pytest makes an import that fails slow. It belongs
# to trio, which is not installed. None makes the import fail at once, as Python documents.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]

# In RAM, test modules that start or clone many databases take a quarter less CPU time.
if "PYTEST_DEBUG_TEMPROOT" not in os.environ and is_ram_disk_usable(RAM_DISK):
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(RAM_DISK)

SCOPE = "https://purl.imsglobal.org/spec/case/v1p0/scope/case."

# How long an example takes depends on the load of the machine. Unless the variable CI is set,
# Hypothesis would fail examples that take over 200 ms, and tests whose data is generated slowly.
UNTIMED = hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.register_profile("quick", UNTIMED, max_examples=DEFAULT_EXAMPLES // 4)
hypothesis_settings.load_profile("quick")
hypothesis_settings.register_profile("thorough", UNTIMED, max_examples=10 * DEFAULT_EXAMPLES)

collect_ignore = ["sample_project"]
"""A project of its own, which ``pytest_plugin/test_sample_project.py`` runs."""


SLOWEST_FIRST = (
    "pytest_plugin/test_plugin.py",
    "server/test_run.py",
    "web/test_browser.py",
    "test_sdk.py",
    "db/postgres/test_embedded.py",
    "cli/test_conformance.py",
    "db/test_slow_postgres.py",
    "transfer/test_sync.py",
    "db/read/lists/test_entity_lists.py",
    "stress/test_leaving.py",
    "api/test_filters_match_responses.py",
    "db/test_read_timeout.py",
    "server/test_standby.py",
    "db/test_migrations.py",
    "server/test_protocol.py",
    "stress/test_adversarial.py",
    "api/routes/test_read_limits.py",
    "db/test_connector.py",
    "server/test_shutdown.py",
    "net/test_download.py",
    "db/test_failover.py",
    "cli/test_check.py",
    "server/test_synchronous_replication.py",
    "cli/test_backup.py",
    "server/test_http.py",
    "repair/test_reader.py",
    "deployment/test_installation.py",
    "cli/test_packages.py",
    "api/routes/test_entities.py",
    "transfer/test_sync_of_lists.py",
    "api/routes/test_stalled_readers.py",
    "api/test_standard.py",
    "formats/test_losses.py",
    "stress/test_disk.py",
    "deployment/test_wheel.py",
    "db/read/lists/test_item_counts.py",
    "testmode/test_cross_site.py",
    "testmode/test_page_in_browser.py",
    "cli/test_file_formats.py",
    "formats/test_round_trip.py",
)
"""The longest test modules. They start first, so that none of them runs alone at the end."""


def pytest_xdist_auto_num_workers() -> int:
    """Return how many test processes ``-n auto`` starts: two more than there are cores.

    Many tests wait for a server or a command that they started. On two cores, three processes left
    them idle for 15 % of the time, four for 5 %.
    """
    return (os.cpu_count() or 1) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests so that the slowest modules start first; keep the order within a module."""
    folder = Path(__file__).parent
    rank = {folder / name: number for number, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Exempt what was imported and collected from garbage collection, because it is permanent."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all test processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def postgres(run_dir: Path) -> Iterator[str]:
    """The URL of a Postgres server: TEST_DATABASE_URL, or an embedded one.

    All test processes of a run share the embedded one.
    """
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    # Its data need not survive a power failure.
    with embedded_postgres(run_dir / "postgres", fsync=False) as url:
        yield url


@pytest.fixture(scope="session")
def sdk_python(run_dir: Path) -> Path:
    """A Python with the TimeBack SDK, installed once for all test processes."""
    return find_sdk_python(run_dir)


WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")


@pytest.fixture(scope="session")
def empty_database(postgres: str) -> EmptyDatabase:
    """Return a function that creates an empty database for a purpose and returns its URL.

    Each test process has databases of its own.
    """

    async def create(purpose: str) -> str:
        return await create_database(postgres, f"case_test_{WORKER}_{purpose}")

    return create


@pytest.fixture(scope="session")
def migrated_database(postgres: str, run_dir: Path) -> MigratedDatabase:
    """Return a function that creates a migrated database for a purpose and returns its URL.

    Each test process has databases of its own. The function runs an event loop, so async tests must
    call it in a thread.
    """
    template = create_template(postgres, run_dir)

    def create(purpose: str) -> str:
        name = f"case_test_{WORKER}_{purpose}"
        return asyncio.run(create_database(postgres, name, template=template))

    return create


@pytest.fixture(scope="session")
def new_data_dir(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> NewDataDir:
    """Return a function that creates a data directory with a migrated, empty database."""
    return lambda: copy_data_dir(tmp_path_factory.mktemp("cluster") / "data", run_dir)


@pytest.fixture(scope="module")
def running_data_dir(new_data_dir: NewDataDir) -> Iterator[Path]:
    """A data directory whose embedded Postgres runs while the tests of a module do.

    Commands use it, and need neither start nor stop one.
    """
    data_dir = new_data_dir()
    with embedded_postgres(data_dir, fsync=False):
        yield data_dir


@pytest.fixture
def data_dir(tmp_path: Path, run_dir: Path) -> Path:
    """A data directory whose embedded Postgres has a migrated, empty database."""
    return copy_data_dir(tmp_path / "data", run_dir)


@pytest.fixture(scope="session")
def database_url(migrated_database: MigratedDatabase) -> str:
    """The URL of the database that the application under test uses."""
    return migrated_database("app")


@pytest.fixture(scope="session")
def _external_issuer() -> Iterator[ExternalIssuer]:
    issuer = ExternalIssuer()
    yield issuer
    issuer.stop()


@pytest.fixture
def external_issuer(_external_issuer: ExternalIssuer) -> ExternalIssuer:
    """An OAuth issuer that the application trusts, reset to its initial state."""
    _external_issuer.reset()
    return _external_issuer


@pytest.fixture(scope="session")
def pooled_url(
    postgres: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of the application's database, through PgBouncer if TEST_POOL_MODE is set."""
    mode = os.environ.get("TEST_POOL_MODE")
    if not mode:
        yield database_url
        return
    with run_pgbouncer(postgres, tmp_path_factory.mktemp("pgbouncer"), mode) as port:
        pooled = make_url(database_url).set(host="127.0.0.1", port=port)
        url = pooled.render_as_string(hide_password=False)
        yield ensure_schema(url, may_migrate=False, is_migration_requested=False)


@pytest.fixture(scope="session")
def settings(pooled_url: str, _external_issuer: ExternalIssuer) -> Settings:
    return Settings(
        database_url=pooled_url,
        public_url="http://case.test",
        client_id=CLIENT[0],
        client_secret=CLIENT[1],
        max_body_mb=30,
        trusted_issuers=(_external_issuer.url,),
    )


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    async with run_app(settings) as (application, _):
        yield application


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """A connection pool to the application's database, separate from the application's own."""
    async with Database.open(settings.database_url, settings) as pool:
        yield pool


@pytest.fixture(scope="session")
async def execute(database_url: str) -> AsyncIterator[Execute]:
    """Return a function that runs SQL in the application's database and returns the rows."""
    async with open_connection(database_url) as connection:
        yield connection.fetch


@pytest.fixture
async def clean(execute: Execute) -> None:
    """Empty every table that tests fill, before the test."""
    await delete_all_rows(execute)


@pytest.fixture
async def anonymous(app: FastAPI, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the application that sends no token."""
    async with create_client(app) as client:
        yield client


@pytest.fixture
async def token(anonymous: httpx.AsyncClient) -> Callable[..., Awaitable[str]]:
    """Return a function that requests a token: for all scopes, or some such as ``"readonly"``."""

    async def get(*scopes: str) -> str:
        scope = " ".join(SCOPE + name for name in scopes)
        form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        response = await anonymous.post("/oauth2/token", data=form, auth=CLIENT)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    return get


@pytest.fixture(scope="module")
async def authorization(app: FastAPI) -> str:
    """The Authorization field of a token for all scopes, which the tests of a module share."""
    async with create_client(app) as client:
        await authorize(client, CLIENT)
        return client.headers["Authorization"]


@pytest.fixture
async def client(app: FastAPI, clean: None, authorization: str) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the application that sends a token for all scopes."""
    async with create_client(app) as client:
        client.headers["Authorization"] = authorization
        yield client


@pytest.fixture(params=PROFILES, ids=lambda profile: profile.name)
def any_profile(request: pytest.FixtureRequest) -> ApiProfile:
    """Each API profile in turn, also those that only read."""
    profile: ApiProfile = request.param
    return profile


WRITERS = [profile for profile in PROFILES if profile.writes]


@pytest.fixture(params=WRITERS, ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> ApiProfile:
    """Each API profile that has write operations in turn."""
    profile: ApiProfile = request.param
    return profile


@pytest.fixture
def api(client: httpx.AsyncClient, profile: ApiProfile) -> Api:
    """A client that sends a token for all scopes, for each API profile that can write in turn."""
    return Api(client, profile)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory ../shared with real frameworks; skips the test if it is missing."""
    directory = Path(__file__).parents[2] / "shared"
    if not directory.is_dir():
        pytest.skip("there is no ../shared with real frameworks")
    return directory
