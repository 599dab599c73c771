"""Error messages of the command line, as printed."""

import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import factories
from support.databases import MigratedDatabase
from support.live_server import build_environment
from support.terminal import run_in_terminal

from case_server.cli import COMMANDS, main
from case_server.cli.shared import ERROR_CODES
from case_server.server.run import get_command_prefix
from case_server.settings import list_setting_variables

PREFIX = "case-server: error: "
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


Case = tuple[str, str]
"""A command line, and its error without the prefix."""

# Usage errors. Each ends in "(see `COMMAND --help`)", which is left out here.
USAGE = """\
$ case-server chek
  unknown command 'chek': did you mean check?
$ case-server frobnicate
  unknown command 'frobnicate'
$ case-server client ad x
  unknown command 'ad': did you mean add?
$ case-server serve --prot 1
  no such option '--prot': did you mean one of: '--host', '--port'?
$ case-server serve --port x
  invalid value for '--port' (env var: 'CASE_SERVER_PORT'): 'x' is not a valid integer
$ case-server check
  missing SOURCE: name a file, a folder or a URL
$ case-server check x.json --format xml
  invalid value for '--format': 'xml' is not one of 'text', 'json', 'sarif'
$ case-server check x.json --fail-on fatal
  invalid value for '--fail-on': 'fatal' is not one of 'error', 'warning', 'note', 'never'
$ case-server check x.json --ignore schemas
  invalid value for '--ignore': unknown rule 'schemas': did you mean schema? (--rules lists
  all)
$ case-server check x.json -o /nowhere/x
  invalid value for '-o' / '--output': cannot write /nowhere/x: name a file in an existing
  folder
$ case-server check x.json --token t --token-url http://x.test
  --token and --token-url exclude each other
$ case-server check x.json --token-url http://x.test
  --token-url needs --client-id and --client-secret, or CASE_SOURCE_CLIENT_ID and
  CASE_SOURCE_CLIENT_SECRET
$ case-server check x.json --client-id me
  --client-id needs --token-url
$ case-server conformance
  missing argument 'URL'
$ case-server conformance http://x/case/1.1 --only list-limits
  invalid value for '--only': unknown check 'list-limits': did you mean list-limit?
  (--checks lists all)
$ case-server conformance http://x/case/1.1 --only put-item
  put-item writes: add --write
$ case-server conformance http://x/case/1.1 --profile other
  invalid value for '--profile': 'other' is not one of 'platform', 'sdk', 'standard',
  'standard-1.0'
$ case-server conformance http://x/case/1.1 --token x --token-url http://x
  --token and --token-url exclude each other
$ case-server conformance http://x/case/1.1 --client-id x
  a token needs --client-id and --client-secret, or CASE_SOURCE_CLIENT_ID and
  CASE_SOURCE_CLIENT_SECRET
$ case-server import
  missing SOURCE: name a file, a folder or a URL, or add --sample
$ case-server import http://x.test/p --client-id me
  --client-id needs --token-url
$ case-server import --sample --strict --identifiers uuid5
  --strict repairs nothing: remove it, or --identifiers and --keep-association-types
$ case-server import --sample --title x
  --title, --creator and --document-id apply to one framework: name one SOURCE
$ case-server import - - --title x
  --title, --creator and --document-id apply to one framework: name one SOURCE
$ case-server import http://x.test/p --strict --title x
  --strict completes nothing but spreadsheets: remove it, or --title, --creator and
  --document-id
$ case-server export
  missing argument 'ID'
$ case-server template x.txt
  invalid FILE 'x.txt': it must end in .xlsx or .csv
$ case-server sync
  missing URL: name one, or a file of URLs with --from
$ case-server sync ftp://x.test/a
  invalid URL ftp://x.test/a: use http:// or https:// and the name of a host
$ case-server sync http://[x/CFDocuments https://xn--a/p
  invalid URL http://[x/CFDocuments, https://xn--a/p: use http:// or https:// and the name of
  a host
$ case-server delete thing x
  invalid value for '{document|item}': 'thing' is not one of 'document', 'item'
$ case-server purge --older-than 3x
  invalid value for '--older-than': invalid duration '3x': use a number and a unit, for
  example 36h, 30d or 8w
$ case-server client rotate x --keep-old-for 400d
  invalid value for '--keep-old-for': '400d' is too long: use at most 366d
$ case-server client add x --scope all
  invalid value for '--scope': unknown scope 'all': use one of readonly, createput, delete
"""

# Refusals without a database.
REFUSALS = """\
$ case-server check http://[x/p
  invalid URL http://[x/p: use http:// or https:// and the name of a host
$ case-server import https:///p
  invalid URL https:///p: use http:// or https:// and the name of a host
$ case-server serve --port 99999
  invalid settings: CASE_SERVER_PORT: must be less than or equal to 65535 (got 99999)
$ case-server serve --host 0.0.0.0
  refusing to listen on 0.0.0.0 with the default client secret: set CASE_CLIENT_SECRET, or
  CASE_SERVER_ALLOW_DEFAULT_SECRET=true if only this machine can reach that address
$ case-server serve --host 192.0.2.1
  cannot listen on 192.0.2.1:8000: Cannot assign requested address; set --host to an address
  of this machine, for example 127.0.0.1 or 0.0.0.0
$ case-server check nowhere.json
  nowhere.json: cannot be read: No such file or directory; check its name and permissions
$ case-server import nowhere.json
  no such file or folder: nowhere.json; check the path
$ case-server import --sample --report /nowhere/x
  cannot write the report to /nowhere/x: name a file in an existing folder
$ case-server backup full.csv
  full.csv exists already: add --force to replace it
$ case-server template full.csv
  full.csv exists already; name another file
$ case-server token --url http://127.0.0.1:9
  could not connect to http://127.0.0.1:9/oauth2/token (Connection refused); start the server
  with `case-server serve`, or add --url
$ case-server conformance ftp://x
  invalid base URL 'ftp://x': expected http(s)://HOST[:PORT]/PATH, for example
  http://127.0.0.1:8000/case/1.1
$ case-server conformance http://[::1/case/1.1
  invalid base URL 'http://[::1/case/1.1': expected http(s)://HOST[:PORT]/PATH, for example
  http://127.0.0.1:8000/case/1.1
$ case-server conformance http://127.0.0.1:9/here
  unknown base path in http://127.0.0.1:9/here: use a URL that ends in
  /1edtech/ims/case/v1p1, /ims/case/v1p1, /ims/case/v1p0, /case/1.1, or add --profile
$ case-server conformance http://127.0.0.1:9
  could not connect to http://127.0.0.1:9/case/1.1 (Connection refused); is the server running?
$ case-server conformance http://127.0.0.1:9/case/1.1 --client-id x --client-secret y
  no token: could not connect to http://127.0.0.1:9/oauth2/token (Connection refused); is
  the server running, and --token-url right?
$ case-server client add a:b
  invalid client ID 'a:b': use 1 to 255 printable ASCII characters without spaces and colons
$ case-server client add local-client
  the client ID 'local-client' is that of CASE_CLIENT_ID, which always exists; choose
  another ID
"""

# Refusals with a database.
DATABASE_REFUSALS = """\
$ case-server backup file
  this command works on the embedded Postgres, but CASE_SERVER_DATABASE_URL is set; use
  Postgres' own tools: pg_dump --format=custom --no-owner -f FILE URL
$ case-server restore file
  this command works on the embedded Postgres, but CASE_SERVER_DATABASE_URL is set; use
  Postgres' own tools: pg_restore --no-owner -d URL FILE, then case-server migrate
$ case-server export 00000000-0000-4000-8000-000000000000
  no framework has the identifier '00000000-0000-4000-8000-000000000000': `case-server list` shows
  all
$ case-server delete item 00000000-0000-4000-8000-000000000000
  no CFItem has the identifier '00000000-0000-4000-8000-000000000000': the CFPackage of its
  framework contains those that exist
$ case-server undelete item 00000000-0000-4000-8000-000000000000
  no deleted CFItem has the identifier '00000000-0000-4000-8000-000000000000': it was never
  stored, or was purged; import it
$ case-server client remove nobody
  no client has the identifier 'nobody': `case-server client list` shows all clients
$ case-server client rotate nobody
  no client has the identifier 'nobody': `case-server client list` shows all clients
$ case-server client remove local-client
  the client 'local-client' is that of CASE_CLIENT_ID: change CASE_CLIENT_SECRET and restart
  the server
$ case-server client rotate local-client
  the client 'local-client' is that of CASE_CLIENT_ID: change CASE_CLIENT_SECRET and restart
  the server
"""


def cases(transcript: str) -> list[Case]:
    """Return the commands of a transcript with their errors, each on one line."""
    blocks = transcript.split("$ case-server ")[1:]
    pairs = (block.partition("\n")[::2] for block in blocks)
    return [(command, " ".join(error.split())) for command, error in pairs]


def command_path(command: str) -> str:
    """Return the part of a command line that --help belongs to."""
    words = command.split()
    if words[0] not in COMMANDS:
        return "case-server"
    is_subcommand = words[0] in {"client", "keys"} and words[1] in {"add", "rotate", "remove"}
    return " ".join(["case-server", *words[: 2 if is_subcommand else 1]])


Run = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder without a database; return its exit code and its errors."""
    monkeypatch.chdir(tmp_path)
    Path("full.csv").touch()
    variables = {**build_environment(Path("data")), "CASE_CLIENT_SECRET": "secret"}

    def run(command: str, **settings: str) -> tuple[int, list[str]]:
        unset: dict[str, str | None] = {name: None for name in os.environ if name not in variables}
        env = {**unset, **variables, **settings}
        result = CliRunner().invoke(main, command.split(), prog_name="case-server", env=env)
        assert "Traceback" not in result.stderr
        return result.exit_code, result.stderr.splitlines()

    return run


@pytest.mark.parametrize(("command", "error"), cases(USAGE), ids=lambda text: text[:40])
def test_usage_error_is_one_line_naming_help(command_line: Run, command: str, error: str) -> None:
    code, errors = command_line(command)
    assert errors == [f"{PREFIX}{error} (see `{command_path(command)} --help`)"]
    assert code == 2
    assert not Path("data").exists()


@pytest.mark.parametrize(("command", "error"), cases(REFUSALS), ids=lambda text: text[:40])
def test_refusal_is_one_line_with_the_prefix(command_line: Run, command: str, error: str) -> None:
    settings = {} if "0.0.0.0" not in command else {"CASE_CLIENT_SECRET": "local-secret"}
    code, errors = command_line(command, **settings)
    assert errors == [f"{PREFIX}{error}"]
    assert code == ERROR_CODES.get(command.split(maxsplit=1)[0], 1)
    assert not Path("data").exists()


@pytest.fixture(scope="module")
def database_url(migrated_database: MigratedDatabase) -> str:
    return migrated_database("messages")


@pytest.mark.parametrize(("command", "error"), cases(DATABASE_REFUSALS), ids=lambda text: text[:40])
def test_refusal_with_a_database_is_one_error_line(
    command_line: Run, database_url: str, command: str, error: str
) -> None:
    code, lines = command_line(command, CASE_SERVER_DATABASE_URL=database_url)
    assert [line for line in lines if line.startswith(PREFIX)] == [f"{PREFIX}{error}"]
    assert code == 1


def test_port_in_use_is_reported_with_a_remedy(command_line: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, errors = command_line(f"serve --port {port}")
    expected = "Address already in use; try another --port, or --port 0 for a free one"
    assert errors == [f"{PREFIX}cannot listen on 127.0.0.1:{port}: {expected}"]
    assert code == 1


def test_binary_export_to_a_terminal_is_refused(tmp_path: Path) -> None:
    code, output = run_in_terminal(
        *("export", UNKNOWN_ID, "--format", "xlsx"), data_dir=tmp_path / "data", columns=200
    )
    error = f"{PREFIX}xlsx is binary: add -o FILE, or redirect the output (see `"
    assert output.startswith(error)
    assert len(output.splitlines()) == 1
    assert code == 2
    assert not (tmp_path / "data").exists()


def test_list_of_problems_has_a_line_for_each(command_line: Run) -> None:
    body = factories.package()
    body["CFDocument"].pop("title")
    body["CFItems"][0].pop("fullStatement")
    Path("invalid.json").write_bytes(json.dumps(body).encode())
    code, errors = command_line("import invalid.json --dry-run")
    assert code == 1
    assert [line.split(":")[0].strip() for line in errors[-3:-1]] == [
        "CFDocument.title",
        "CFItems[0].fullStatement",
    ]
    assert errors[-1].strip() == "--title and --creator give what the CFDocument lacks"


@pytest.mark.parametrize("command", COMMANDS)
def test_summary_is_short_and_never_cut(command: str) -> None:
    lines = CliRunner().invoke(main, ["--help"]).stdout.split("Commands:\n")[1].splitlines()
    (summary,) = (line.split(maxsplit=1)[1] for line in lines if line.split()[0] == command)
    assert summary.endswith(".")
    assert "..." not in summary
    assert len(summary) <= 55


def test_serve_help_covers_every_setting_with_its_default() -> None:
    text = " ".join(CliRunner().invoke(main, ["serve", "--help"]).stdout.split())
    text = text.replace("- ", "-")  # words are hyphenated at the end of a line
    for name in list_setting_variables():
        assert name in text, name
    for default in ("127.0.0.1", "8000", "30", "text", "8192", "local-client", "120"):
        assert f"[default: {default}]" in text


@pytest.mark.parametrize("command", ["serve", "client add"])
def test_help_shows_each_default_once(command: str) -> None:
    text = " ".join(CliRunner().invoke(main, [*command.split(), "--help"]).stdout.split())
    for entry in re.split(r"(?=CASE_SERVER_|CASE_CLIENT_|--)", text):
        assert not re.search(r"Default: .*\[default:|\[default: \(", entry), entry


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (".venv/bin/case-server", ".venv/bin/case-server"),
        ("{folder}/my env/bin/case-server", "'my env/bin/case-server'"),
        ("/opt/case/bin/case-server", "/opt/case/bin/case-server"),
        ("{folder}/case_server/__main__.py", "{python} -m case_server"),
    ],
)
def test_banner_names_the_command_as_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [program.format(folder=tmp_path), "serve"])
    assert get_command_prefix() == expected.format(python=sys.executable)
