"""A cluster of Ray on loopback, with a token, whose nodes and workers can be killed."""

import os
import random
import secrets
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psutil

ACTOR = "ray::_RayTasks"
TRIES = 4  # to start a node
START_SECONDS = 300.0
PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port",
         "runtime_env_agent_port")  # fmt: skip
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # loopback
    # A busy machine needs longer than a server for what Ray starts beside a node.
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_health_check_initial_delay_ms": "60000",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
}


def patient(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Ask again for minutes: Ray gives a node 30 seconds to start, too little on a busy machine."""

    def ask_again(*given: Any, **named: Any) -> Any:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                return ask(*given, **named)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    return ask_again


class RayCluster:
    """A head without cores, and nodes with one core each."""

    def __init__(self, nodes: int) -> None:
        os.environ |= ENVIRONMENT  # Ray reads it as it is imported
        from ray._private import services
        from ray.cluster_utils import Cluster

        services.get_node = patient(services.get_node)
        self._cluster: Any = Cluster()
        self._add(0)
        self._nodes = [self._add(1) for _ in range(nodes)]

    @property
    def address(self) -> str:
        """What a driver has in RAY_ADDRESS."""
        return self._cluster.address

    def workers(self) -> list[psutil.Process]:
        """List the actors that do tasks."""
        return [p for p in psutil.process_iter(["name", "cmdline"])
                if " ".join(p.info["cmdline"] or ()).startswith(ACTOR)]  # fmt: skip

    def kill_worker(self, moments: random.Random) -> int:
        """End one actor; returns how many were ended."""
        workers = self.workers()
        if not workers:
            return 0
        with suppress(psutil.NoSuchProcess):
            moments.choice(workers).kill()
        return 1

    def kill_node(self, moments: random.Random) -> int:
        """End a node with all on it, and add another; returns how many workers that ended."""
        number = moments.randrange(len(self._nodes))
        self._cluster.remove_node(self._nodes[number], allow_graceful=False)
        self._nodes[number] = self._add(1)
        return 1

    def stop(self) -> None:
        """End all of it."""
        self._cluster.shutdown()

    def _add(self, cores: int) -> Any:
        """Add a node, again where the machine was too busy for the limits of Ray."""

        def add() -> Any:
            # A node that is told its ports does not give up on the processes that choose them.
            ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
            return self._cluster.add_node(num_cpus=cores, include_dashboard=False, **ports)

        for _ in range(TRIES):
            with suppress(Exception):
                return add()
        return add()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on."""
    with ExitStack() as stack:
        found = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listening.getsockname()[1] for listening in found]
