"""Requests per second of the service, beside Keras' Xception behind a plain web server.

    python benchmarks/serve_load.py [--seconds 60] [--clients 8] [--only tumorlens]

Needs wrk. Both servers get the same forms, one JPEG of 224 px in each, from the same clients, one
server after the other on this machine:

- tumorlens: `tumorlens serve` with its own store on the disk, each answer committed before it is
  given, and with more requests a minute allowed than one key has by default;
- the way of the earlier systems: one thread a request, Pillow, and `model.predict` of Keras'
  Xception at 299 px (random weights: speed does not depend on their values), nothing stored.

Everything goes over 127.0.0.1.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from service_process import (
    phantom_jpeg,
    processor_seconds,
    resident_mib,
    start,
    start_command,
)

SCRIPT = Path(__file__).with_name("serve_load.lua")
BOUNDARY = "tumorlensbenchmark"
PORTS = {"tumorlens": 8701, "keras": 8702}


def main() -> None:
    """Load both servers and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--only", choices=["tumorlens", "keras"])
    arguments.add_argument("--serve-keras", action="store_true", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.serve_keras:
        serve_keras()
        return
    with tempfile.TemporaryDirectory() as folder:
        listed = write_bodies(Path(folder))
        found = {
            name: measure(name, Path(folder), listed, chosen)
            for name in PORTS
            if chosen.only in (None, name)
        }
    for name, row in found.items():
        print(
            f"{name:10} {row['requests'] / row['seconds']:7.1f} requests/s  p50 {row['p50']:.1f} ms"
            f"  p99 {row['p99']:.1f} ms  max {row['max']:.0f} ms  errors {row['errors']}"
            f"  ready after {row['ready_seconds']:.1f} s  resident {row['resident_mib']:.0f} MiB"
            f"  processor {row['processor_ms']:.1f} ms a request"
        )
    if len(found) == 2:
        ours, theirs = (found[name]["requests"] / found[name]["seconds"] for name in PORTS)
        print(f"tumorlens answers {ours / theirs:.1f} times as many requests")


def write_bodies(folder: Path, count: int = 64) -> Path:
    """Write forms of phantoms and a list of them."""
    paths = []
    for seed in range(count):
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{seed}.jpg"'
            "\r\nContent-Type: image/jpeg\r\n\r\n"
        )
        path = folder / f"{seed}.form"
        path.write_bytes(head.encode() + phantom_jpeg(seed) + f"\r\n--{BOUNDARY}--\r\n".encode())
        paths.append(path)
    listed = folder / "bodies.txt"
    listed.write_text("".join(f"{path}\n" for path in paths))
    return listed


def measure(name: str, folder: Path, listed: Path, chosen: argparse.Namespace) -> dict:
    """Start one server, warm it up, load it, stop it."""
    port = PORTS[name]
    if name == "tumorlens":
        server = start(folder, port=port, TUMORLENS_REQUESTS_PER_MINUTE="1000000")
    else:
        command = [sys.executable, __file__, "--serve-keras"]
        server = start_command(command, folder, port=port, environment={})
    pid = server.process.pid
    try:
        load(port, listed, seconds=3, clients=chosen.clients)
        spent = processor_seconds(pid)
        found = load(port, listed, seconds=chosen.seconds, clients=chosen.clients)
        spent = processor_seconds(pid) - spent
        return {
            **found,
            "ready_seconds": server.ready_seconds,
            "resident_mib": resident_mib(pid),
            "processor_ms": 1000 * spent / max(1, found["requests"]),
        }
    finally:
        server.stop()


def load(port: int, listed: Path, *, seconds: int, clients: int) -> dict:
    """Run wrk and give what its script prints."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT),
               f"http://127.0.0.1:{port}/v1/predict"]  # fmt: skip
    environment = {**os.environ, "BODIES": str(listed), "BOUNDARY": BOUNDARY}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def serve_keras() -> None:
    """Serve Xception as the earlier systems did."""
    import keras
    import numpy as np

    model = keras.applications.Xception(weights=None, classes=7)
    model.predict(np.zeros((1, 299, 299, 3), np.float32), verbose=0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply({"status": "ok"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            image = Image.open(io.BytesIO(body[body.index(b"\r\n\r\n") + 4 :]))
            pixels = np.asarray(image.convert("RGB").resize((299, 299)), np.float32)
            unit = keras.applications.xception.preprocess_input(pixels)[None]
            self.reply({"probabilities": model.predict(unit, verbose=0)[0].tolist()})

        def reply(self, document: dict) -> None:
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", PORTS["keras"]), Handler).serve_forever()


if __name__ == "__main__":
    main()
