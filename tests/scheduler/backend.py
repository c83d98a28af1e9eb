"""A stand-in for a model backend that checks fencing tokens, and the processes that call it."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading


class Backend:
    """Counts calls by the slot they hold, refuses stale tokens, and notes each call that another one replaced.

    A line in, a line out: ``begin``, ``again`` or ``end`` with process, slot and number.
    """

    def __init__(self, slots):
        self.slots = slots
        self.newest = {}
        self.running = {}
        self.replaced = []
        self.refused = []
        self.beyond = []
        self.begun = 0
        self.most = 0
        self.lock = threading.Lock()

    def handle(self, verb, process, slot, number):
        token = (process, slot, number)
        with self.lock:
            if number < self.newest.get(slot, 0):
                self.refused.append(token)
                return "stale"
            if verb == "end":
                if self.running.get(slot) == token:
                    del self.running[slot]
                return "ok"
            if slot >= self.slots:
                self.beyond.append(token)
            before = self.running.get(slot)
            if before is not None and before != token:
                self.replaced.append(before)
            self.newest[slot] = number
            self.running[slot] = token
            self.begun += verb == "begin"
            self.most = max(self.most, len(self.running))
            return "ok"

    def of(self, process):
        with self.lock:
            return [token for token in self.running.values() if token[0] == process]

    @contextlib.contextmanager
    def served(self):
        backend = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                for line in self.rfile:
                    answer = backend.handle(*json.loads(line))
                    self.wfile.write(f"{answer}\n".encode())

        class Threads(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                """A process that is killed leaves connections that end in the middle."""

        with Threads(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            thread.start()
            yield server.server_address[1]
            server.shutdown()
            thread.join()
