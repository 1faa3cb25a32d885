"""Servers in this process for the tests of clients."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextlib.contextmanager
def running(server):
    """The server, answering from a thread of its own until the block ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Canned(ThreadingHTTPServer):
    """Answers with `reply(path, body)`: bytes. Statuses in `fails` come first, with `failure` as their text. Bodies of
    POST are kept in `requests`, headers of all in `headers`. Every POST is answered once `meet` returns."""

    daemon_threads = True
    failure = b"unwell"

    def __init__(self, reply=None):
        super().__init__(("127.0.0.1", 0), _Canned)
        self.requests, self.headers, self.fails, self.reply = [], [], [], reply
        self.meet = lambda: None
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that hung up is part of some tests."""


class _Canned(BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(body)
        self.server.meet()
        self._send(body)

    def do_GET(self):  # noqa: N802
        self._send(b"")

    def _send(self, body):
        self.server.headers.append(self.headers)
        status = self.server.fails.pop(0) if self.server.fails else 200
        data = self.server.failure if status != 200 else self.server.reply(self.path, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass
