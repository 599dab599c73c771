"""Three Postgres servers under Patroni, with etcd, to kill, freeze and switch over.

They listen on loopback. Needs Debian's postgresql, patroni and etcd-server. As root, everything
runs as ``postgres``.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

NODES = ("n1", "n2", "n3")
TTL_SECONDS = 10
"""Time without a heartbeat after which a primary is replaced; nearly all of an outage."""

START_TIMEOUT_SECONDS = 90


def find_free_port() -> int:
    """Return a TCP port on which no process is currently listening."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class PatroniCluster:
    """Three nodes, each running Patroni and Postgres, and the etcd that elects the primary.

    Tests can kill, freeze and restart the nodes.
    """

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        self.folder, self._synchronous = folder, synchronous
        self.ports = {name: find_free_port() for name in NODES}
        self._api_ports = {name: find_free_port() for name in NODES}
        self._etcd = find_free_port(), find_free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._account = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        self._binaries = max(Path("/usr/lib/postgresql").glob("*/bin"))

    @property
    def url(self) -> str:
        """The connection URL for clients: it lists all nodes and selects the current primary."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports.values())
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def _configuration(self, name: str) -> dict[str, Any]:
        parameters = {"max_connections": 60, "shared_buffers": "64MB", "wal_keep_size": "256MB"}
        return {
            "scope": "case",
            "name": name,
            "etcd3": {"hosts": f"127.0.0.1:{self._etcd[0]}"},
            "restapi": {
                "listen": f"127.0.0.1:{self._api_ports[name]}",
                "connect_address": f"127.0.0.1:{self._api_ports[name]}",
            },
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_SECONDS,
                    "loop_wait": 2,
                    "retry_timeout": 3,
                    "synchronous_mode": self._synchronous,
                    "postgresql": {"use_pg_rewind": True, "parameters": parameters},
                },
                "initdb": [
                    "no-sync",
                    {"auth-local": "trust"},
                    {"auth-host": "trust"},
                    {"encoding": "UTF8"},
                    {"locale": "C.UTF-8"},
                ],
                "pg_hba": [
                    "host all all 127.0.0.1/32 trust",
                    "host replication all 127.0.0.1/32 trust",
                ],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.ports[name]}",
                "connect_address": f"127.0.0.1:{self.ports[name]}",
                "bin_dir": str(self._binaries),
                "data_dir": str(self.folder / name / "data"),
                "pgpass": str(self.folder / name / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres"},
                    "replication": {"username": "replicator"},
                    "rewind": {"username": "rewinder"},
                },
                "parameters": {"unix_socket_directories": str(self.folder / name)},
            },
        }

    def _run(self, name: str, *command: str | Path) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                (*self._account, *command), stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    def start_etcd(self) -> None:
        """Start etcd with fsync disabled, because its data need not survive a crash."""
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd)
        urls = {
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        options = (part for name, url in urls.items() for part in (f"--{name}", url))
        self._run("etcd", "etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", *options)

    def start(self, node: str) -> None:
        """Start a node, for the first time or after ``kill``."""
        folder = self.folder / node
        if not folder.exists():
            folder.mkdir(mode=0o700)
            # JSON is a subset of YAML.
            (folder / "patroni.yml").write_text(json.dumps(self._configuration(node)))
            if self._account:
                shutil.chown(folder, "postgres", "postgres")
        self._run(node, "patroni", folder / "patroni.yml")

    async def get_roles(self) -> dict[str, str]:
        """Return the role, ``primary`` or ``replica``, of each node whose Postgres is running."""
        roles = {}
        async with httpx.AsyncClient(timeout=1) as http:
            for name, port in self._api_ports.items():
                with suppress(httpx.HTTPError, ValueError):
                    state = (await http.get(f"http://127.0.0.1:{port}/patroni")).json()
                    if state.get("state") == "running":
                        roles[name] = {"master": "primary"}.get(state["role"], state["role"])
        return roles

    async def wait_for_primary(self) -> str:
        """Wait until there is a primary and return the name of its node."""
        return await self._wait_for("primary", 1)

    async def wait_until_all_nodes_run(self) -> None:
        """Wait until one node is the primary and all others are standbys."""
        await self._wait_for("primary", len(NODES))

    async def _wait_for(self, role: str, nodes: int) -> str:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while True:
                roles = await self.get_roles()
                names = [name for name, node_role in roles.items() if node_role == role]
                if names and len(roles) >= nodes:
                    return names[0]
                await asyncio.sleep(0.2)

    async def switch_over(self) -> None:
        """Tell Patroni to make a standby the primary, as an operator does for maintenance."""
        leader = await self.wait_for_primary()
        async with httpx.AsyncClient(timeout=30) as http:
            url = f"http://127.0.0.1:{self._api_ports[leader]}/switchover"
            response = await http.post(url, json={"leader": leader})
        assert response.status_code == 200, response.text

    async def change_settings(self, **settings: Any) -> None:
        """Send settings such as ``synchronous_mode=True`` to Patroni, which applies them later."""
        leader = await self.wait_for_primary()
        async with httpx.AsyncClient(timeout=30) as http:
            url = f"http://127.0.0.1:{self._api_ports[leader]}/config"
            response = await http.patch(url, json=settings)
        assert response.status_code == 200, response.text

    def list_processes(self, node: str) -> list[psutil.Process]:
        """Return the processes of a node, with Patroni first.

        Patroni must be killed before Postgres, because it would restart Postgres.
        """
        processes = []
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or []
            if str(self.folder / node / "patroni.yml") in command:
                processes.append(process)
        with suppress(OSError, psutil.NoSuchProcess):
            pid = (self.folder / node / "data" / "postmaster.pid").read_text().split("\n", 1)[0]
            postmaster = psutil.Process(int(pid))
            processes += [postmaster, *postmaster.children(recursive=True)]
        return processes

    def kill(self, node: str) -> None:
        """Kill all processes of a node with SIGKILL, as if the machine had failed."""
        self._signal(node, signal.SIGKILL)
        self._processes[node].wait(timeout=10)

    @contextmanager
    def freeze(self, node: str) -> Iterator[None]:
        """Suspend all processes of a node in a ``with`` block: connections stay open but silent."""
        self._signal(node, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(node, signal.SIGCONT)

    def _signal(self, node: str, number: signal.Signals) -> None:
        for process in self.list_processes(node):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill_all(self) -> None:
        """Kill all nodes and etcd at the end of a test."""
        for name in NODES:
            self.kill(name)
        etcd = self._processes["etcd"]
        with suppress(ProcessLookupError):
            os.killpg(etcd.pid, signal.SIGKILL)
        etcd.wait()


@contextmanager
def run_patroni_cluster(folder: Path, *, synchronous: bool = False) -> Iterator[PatroniCluster]:
    """Run three Postgres servers under Patroni during a ``with`` block; yield the cluster.

    ``folder`` contains their data. If ``synchronous`` is true, commits wait for a standby.
    """
    folder.chmod(0o755)
    home = folder / "patroni"
    home.mkdir()
    with ExitStack() as stack:
        cluster = PatroniCluster(home, synchronous=synchronous)
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        stack.callback(cluster.kill_all)
        cluster.start_etcd()
        for name in NODES:
            cluster.start(name)
        yield cluster
