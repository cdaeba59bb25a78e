"""As much of the Hugging Face hub as fetching a model takes, on loopback."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789" * 4


@contextmanager
def loopback_hub(files: Mapping[str, bytes], *, commit: str = COMMIT) -> Iterator[str]:
    """Serve one repository, `owner/name`, at one commit; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/owner/name/tree/"):
                rows = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                        for name, data in files.items()]  # fmt: skip
                self.answer(json.dumps(rows).encode())
            elif path.startswith("/api/models/owner/name"):
                siblings = [{"rfilename": name} for name in files]
                found = {"id": "owner/name", "sha": commit, "siblings": siblings}
                self.answer(json.dumps(found).encode())
            elif path.startswith(f"/owner/name/resolve/{commit}/"):
                self.answer(files[path.rpartition("/")[2]])
            else:
                self.send_error(404)

        do_HEAD = do_GET

        def answer(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_words: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
