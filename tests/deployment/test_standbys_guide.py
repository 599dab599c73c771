"""The guide standbys.md agrees with the configurations that it installs."""

import re
import subprocess
from pathlib import Path

import yaml

from case_server.settings import is_unknown_variable

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
GUIDE = (GUIDES / "standbys.md").read_text()
BLOCKS: list[str] = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)

NODES = {"node1": "10.0.0.11", "node2": "10.0.0.12", "node3": "10.0.0.13"}
MONITOR = "10.0.0.20"
PUBLIC_PORTS = {"22", "80", "443"}
PORT = re.compile(r"http://(?:NODE|\$ADDRESS):(\d+)")


def find_block(text: str) -> str:
    """Return the only shell block that contains a text."""
    (block,) = [block for block in BLOCKS if text in block]
    return block


def read_firewall(source: str = "") -> set[str]:
    """Return the TCP ports that the firewall opens to an address, or without one to everyone."""
    rules = re.findall(
        r"^ +(?:ip saddr (.*?) )?tcp dport \{ (.*?) \} accept$",
        find_block("/etc/nftables.conf"),
        re.MULTILINE,
    )
    return {
        port
        for addresses, ports in rules
        if (source in addresses if source else not addresses)
        for port in ports.split(", ")
    }


def test_shell_blocks_are_valid() -> None:
    for block in BLOCKS:
        subprocess.run(["bash", "-n"], input=block, text=True, check=True, capture_output=True)


def test_firewall_opens_the_ports_of_the_table_and_of_the_configurations() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| (\S[^|]*) \| ([^|]*) \|$", GUIDE, re.MULTILINE)
    table = {port: clients for ports, _, clients in rows for port in ports.split(", ")}
    assert {
        port for port, clients in table.items() if clients.startswith(("where", "all"))
    } == PUBLIC_PORTS
    assert read_firewall() == PUBLIC_PORTS
    for address in NODES.values():
        assert read_firewall(address) == {
            port for port, clients in table.items() if "nodes" in clients
        }
    assert read_firewall(MONITOR) == {
        port for port, clients in table.items() if "monitor" in clients
    }
    etcd = set(PORT.findall(find_block("/etc/default/etcd")))
    patroni = yaml.safe_load((GUIDES / "patroni.yml").read_text())
    assert etcd == {"2379", "2380", "2381"}
    for address in (patroni["restapi"]["listen"], patroni["postgresql"]["listen"]):
        assert address.rpartition(":")[2] in read_firewall(NODES["node1"])
    monitored = set(PORT.findall(GUIDE.partition("## 10. Monitoring")[2]))
    assert monitored == read_firewall(MONITOR)


def test_patroni_of_each_node_differs_only_in_name_and_address(tmp_path: Path) -> None:
    (command,) = re.findall(
        r"^sed -e .*?config\.yml$", find_block("SECRET-4"), re.MULTILINE | re.DOTALL
    )
    command = command.replace("$(ls /usr/lib/postgresql)", "17")
    command = command.replace("case-server/docs/guides", str(GUIDES))
    command = command.replace("/etc/patroni", str(tmp_path))
    template = yaml.safe_load((GUIDES / "patroni.yml").read_text())
    for node, address in NODES.items():
        variables = {"NODE": node, "ADDRESS": address}
        variables |= {f"{role}_PASSWORD": role for role in ("REPLICATOR", "POSTGRES", "REWIND")}
        subprocess.run(["bash", "-ec", command], env=variables, check=True)
        text = (tmp_path / "config.yml").read_text()
        assert "SECRET" not in text
        configuration = yaml.safe_load(text)
        assert configuration["name"] == node
        assert configuration["restapi"]["listen"] == f"{address}:8008"
        assert configuration["restapi"]["connect_address"] == f"{address}:8008"
        assert configuration["postgresql"]["connect_address"] == f"{address}:5432"
        assert configuration["postgresql"]["bin_dir"] == "/usr/lib/postgresql/17/bin"
        assert configuration["etcd3"] == template["etcd3"]
        assert configuration["bootstrap"] == template["bootstrap"]


def test_settings_exist_and_haproxy_gets_its_variables() -> None:
    settings = re.findall(r"^([A-Z_]+)='", find_block("CASE_SERVER_MIGRATION_URL"), re.MULTILINE)
    assert len(settings) > 8
    assert [name for name in settings if is_unknown_variable(name)] == []
    haproxy = set(re.findall(r'\$\{(CASE_\w+)\}"', (GUIDES / "haproxy.cfg").read_text()))
    assert haproxy <= set(re.findall(r"^(CASE_\w+)=", find_block("CASE_USER"), re.MULTILINE))
