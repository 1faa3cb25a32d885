"""Assets made for a test: a folder, a manifest that pins its files, and a server on this machine that has them."""

import hashlib
import http.server
import socketserver
import threading
from contextlib import contextmanager

from bench.sources import assets


def sha256(data):
    """The digest of an asset with this content."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def git_blob(data):
    """The same as git names it."""
    return "git-blob:" + hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(name, file, digest, sources=None, make="copy", **recipe):
    """An asset of the manifest."""
    return assets.read_entry(
        {
            "name": name, "what": f"made {name}", "file": file, "digest": digest, "licence": "none",
            "upstream": "this test", "make": make, "sources": sources or {}, **recipe,
        }
    )  # fmt: skip


def source(url, digest="", member=""):
    """A source as the manifest has it."""
    return {"url": url, "digest": digest, "member": member}


def use(monkeypatch, *entries):
    """Makes these the only assets."""
    monkeypatch.setattr(assets, "manifest", lambda: {one.name: one for one in entries})
    monkeypatch.setattr("bench.fetch.manifest", lambda: {one.name: one for one in entries})


def put(monkeypatch, folder, **contents):
    """Makes assets with these contents, by name, the only ones; they lie in `folder`."""
    entries = []
    for name, data in contents.items():
        (folder / f"{name}.file").write_bytes(data)
        entries.append(entry(name, f"{name}.file", sha256(data)))
    use(monkeypatch, *entries)
    monkeypatch.setenv(assets.FOLDER, str(folder))


@contextmanager
def serving(files):
    """A server of {path: bytes}, or of (bytes, length it claims); yields its address and the list of paths asked
    for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path not in files:
                self.send_error(404)
                return
            body = files[self.path]
            body, length = body if isinstance(body, tuple) else (body, len(body))
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def server_bind(self):
            socketserver.TCPServer.server_bind(self)  # without asking for this machine's name, which may take seconds
            self.server_port = self.server_address[1]

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
