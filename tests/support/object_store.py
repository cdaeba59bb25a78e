"""An object store on loopback: moto's server, which can refuse, be slow or forget."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

BUCKET = "scans"
KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip


@dataclass
class ObjectStore:
    """A bucket, and how it behaves."""

    url: str
    endpoint: str
    refuses: str = ""  # part of the paths that are answered with 403
    delay_s: float = 0.0  # before each answer
    puts: int = 0  # of parts

    def upload(self, folder: Path) -> None:
        """Put the files of a folder into the bucket."""
        import fsspec

        system, inside = fsspec.core.url_to_fs(self.url)
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            system.pipe_file(f"{inside}/{path.relative_to(folder)}", path.read_bytes())


@pytest.fixture(scope="session")
def running_store() -> Iterator[ObjectStore]:
    if find_spec("moto") is None or find_spec("s3fs") is None:
        pytest.skip('needs moto and s3fs: pip install "tumorlens[scale,dev]"')
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    store = ObjectStore(f"s3://{BUCKET}", "")
    application = DomainDispatcherApplication(create_backend_app)

    def answer(environment: dict[str, Any], start: Any) -> Any:
        time.sleep(store.delay_s)
        path = environment["PATH_INFO"]
        store.puts += environment["REQUEST_METHOD"] == "PUT" and "/part-" in path
        if store.refuses and store.refuses in path:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
        return application(environment, start)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    store.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield store
    server.shutdown()


@pytest.fixture
def object_store(running_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty bucket that answers everything at once, and the environment to reach it."""
    import s3fs

    from tumorlens.batch.storage import file_system, open_system

    for name, value in (KEYS | {"AWS_ENDPOINT_URL": running_store.endpoint}).items():
        monkeypatch.setenv(name, value)
    running_store.refuses, running_store.delay_s, running_store.puts = "", 0.0, 0
    s3fs.S3FileSystem.clear_instance_cache()
    open_system.cache_clear()
    system, _ = file_system(running_store.url)
    if system.exists(BUCKET):
        system.rm(BUCKET, recursive=True)
    system.mkdir(BUCKET)
    return running_store
