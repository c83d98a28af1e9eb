"""The stand-in for a server's REST interface on a real local port, which can be stopped and started again."""

from __future__ import annotations

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx

from tests.ports import free_port
from tests.stores.rest_server import RestServer


class RestPort:
    """Serves while it is entered and not stopped; what was written survives a stop.

    While it is stopped nobody listens: the port refuses connections, and open ones are cut.
    """

    def __init__(self) -> None:
        self.rest = RestServer()
        self.port = free_port()  # one that nobody is given while it is stopped
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: _Listener | None = None

    @property
    def url(self) -> str:
        return f"qdrant://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = _Listener(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def stop(self) -> None:
        """Be gone, in the middle of whatever is being said."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.cut()
            server.server_close()

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
        """What the stand-in says, on the one loop that its data belongs to."""
        request = httpx.Request(method, f"http://127.0.0.1:{self.port}{path}", headers=headers, content=body)
        return asyncio.run_coroutine_threadsafe(self.rest._handle(request), self._loop).result()


class _Listener(ThreadingHTTPServer):
    allow_reuse_address = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for connection in list(self._open):
            self.shutdown_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut is no news."""


def _handler(port: RestPort) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            said = port.answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response(said.status_code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said.content)))
            self.end_headers()
            self.wfile.write(said.content)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _any  # noqa: N815  # the base class's names

        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002  # the name of the base class
            """Nothing on stderr."""

    return Handler
