"""docs/guides/patroni.yml contains what standbys.md requires, and Patroni accepts it."""

import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLE = Path(__file__).parents[2] / "docs" / "guides" / "patroni.yml"


def read_example() -> dict[str, Any]:
    """Return the configuration of the documentation."""
    configuration: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return configuration


def test_example_contains_what_the_guide_requires() -> None:
    example = read_example()
    dynamic = example["bootstrap"]["dcs"]
    postgresql = dynamic["postgresql"]
    assert postgresql["use_pg_rewind"] is True
    assert postgresql["parameters"] == {
        "max_connections": 100,
        "hot_standby_feedback": "on",
        "wal_receiver_timeout": "2s",
        "wal_keep_size": "1GB",
        "max_slot_wal_keep_size": "10GB",
    }
    assert example["restapi"]["allowlist_include_members"] is True
    assert dynamic["loop_wait"] + 2 * dynamic["retry_timeout"] <= dynamic["ttl"]
    assert {"encoding": "UTF8"} in example["bootstrap"]["initdb"]
    assert {"locale": "C.UTF-8"} in example["bootstrap"]["initdb"]
    assert example["postgresql"]["listen"] == "*:5432"


def test_each_role_of_the_example_may_connect_by_its_pg_hba() -> None:
    example = read_example()
    rules = {tuple(rule.split()) for rule in example["bootstrap"]["dcs"]["postgresql"]["pg_hba"]}
    roles = example["postgresql"]["authentication"]
    assert {role["username"] for role in roles.values()} == {"postgres", "replicator", "rewind"}
    assert rules == {
        ("local", "all", "postgres", "peer"),
        ("host", "all", "postgres", "samehost", "scram-sha-256"),
        ("host", "all", "postgres,rewind", "10.0.0.0/24", "scram-sha-256"),
        # Patroni reads the timeline of its own node through a replication connection.
        ("host", "replication", "replicator", "samehost", "scram-sha-256"),
        ("host", "replication", "replicator", "10.0.0.0/24", "scram-sha-256"),
        ("host", "all", "case_owner,case_user", "10.0.0.0/24", "scram-sha-256"),
        ("host", "all", "case_owner,case_user", "127.0.0.1/32", "scram-sha-256"),
    }


def test_patroni_accepts_the_example(tmp_path: Path) -> None:
    """Validate the example with free ports, because Patroni tries to bind and to connect."""
    if not shutil.which("patroni"):
        pytest.skip("patroni is not installed (Debian: apt-get install patroni)")
    example = read_example()
    with ExitStack() as stack:
        etcd, api, postgres = (
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)
        )
        ports = [listener.getsockname()[1] for listener in (etcd, api, postgres)]
        api.close()
        postgres.close()
        example["etcd3"]["hosts"] = f"127.0.0.1:{ports[0]}"
        example["restapi"]["listen"] = f"127.0.0.1:{ports[1]}"
        example["postgresql"]["listen"] = f"127.0.0.1:{ports[2]}"
        example["postgresql"]["data_dir"] = str(tmp_path / "data")
        example["postgresql"]["bin_dir"] = str(max(Path("/usr/lib/postgresql").glob("*/bin")))
        path = tmp_path / "config.yml"
        path.write_text(yaml.safe_dump(example))
        run = subprocess.run(
            ("patroni", "--validate-config", path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    # Patroni 3.0.2 asks for bootstrap.pg_hba, although postgresql.pg_hba replaces it.
    problems = [
        line
        for line in (run.stdout + run.stderr).splitlines()
        if line.split() != ["bootstrap.pg_hba", "is", "not", "defined."]
    ]
    assert problems == []
