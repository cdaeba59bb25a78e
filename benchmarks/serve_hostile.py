"""Send what nobody should: is there always an answer or a closed connection, and flat memory.

    python benchmarks/serve_hostile.py [FOLDER ...]

Sends some forty hostile requests, by hand where no client would, and then every file of the
folders (the test images of Pillow and pydicom are good ones). After each the service has to live;
at the end its resident memory may have grown by 100 MB at most. Everything goes over 127.0.0.1.
"""

import argparse
import io
import json
import os
import socket
import struct
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from service_process import peak_mib, phantom_jpeg, resident_mib, start

PORT = 8920
MAX_GROWTH_MIB = 100
BOUNDARY = b"hostile"
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
FORM = HEAD + b"Content-Type: multipart/form-data; boundary=" + BOUNDARY + b"\r\n"


def main() -> None:
    """Send, watch, judge."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("folders", nargs="*", type=Path)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = start(Path(folder), port=PORT, TUMORLENS_RECEIVE_SECONDS="5")
        pid = service.process.pid
        try:
            for seed in range(40):
                upload("a.jpg", phantom_jpeg(seed % 4))
            before = resident_mib(pid)
            outcomes = {name: attempt(send) for name, send in hostile()}
            tally = Counter(
                upload(path.name, path.read_bytes())
                for given in chosen.folders
                for path in sorted(given.rglob("*"))
                if path.is_file()
            )
            after, peak = resident_mib(pid), peak_mib(pid)
            alive = upload("a.jpg", phantom_jpeg(0))
        finally:
            service.stop()
    for name, outcome in outcomes.items():
        print(f"{outcome:>7}  {name}")
    print(f"files of {[str(f) for f in chosen.folders]}: {dict(tally)}")
    print(f"resident {before:.0f} -> {after:.0f} MiB, peak {peak:.0f} MiB; alive: {alive}")
    allowed = {"200", "closed", *map(str, range(400, 500))}
    bad = [name for name, outcome in outcomes.items() if outcome not in allowed]
    if bad or not {str(key) for key in tally} <= allowed or alive != "200":
        raise SystemExit(f"broken: {bad} {dict(tally)} {alive}")
    if after - before > MAX_GROWTH_MIB:
        raise SystemExit("broken: memory grew")


def attempt(send: Callable[[], str]) -> str:
    """Send one; returns a status, or "closed" where the connection was closed."""
    try:
        outcome = send()
    except (OSError, httpx.HTTPError):
        outcome = "closed"
    if httpx.get(f"http://127.0.0.1:{PORT}/healthz", timeout=60).status_code != 200:
        return "dead"
    return outcome


def upload(name: str, data: bytes) -> str:
    """Send a file as a client does."""
    url = f"http://127.0.0.1:{PORT}/v1/predict"
    return str(httpx.post(url, files={"file": (name, data)}, timeout=120).status_code)


def raw(*pieces: bytes, pause: float = 0.0, count: int = 1) -> str:
    """Send bytes as they are, the last piece so many times; returns the status of the answer."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=60) as connection:
        try:
            for piece in (*pieces[:-1], *[pieces[-1]] * count):
                connection.sendall(piece)
                time.sleep(pause)
        except OSError:
            pass  # the answer may have come before the end
        answer = connection.recv(65536)
    return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "closed"


def part(data: bytes, disposition: bytes = b'form-data; name="file"; filename="a.png"') -> bytes:
    """Write one part of a form."""
    head = b"--" + BOUNDARY + b"\r\nContent-Disposition: " + disposition + b"\r\n\r\n"
    return head + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    """Write a request with a form."""
    body = b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"
    return FORM + b"Content-Length: %d\r\n\r\n" % len(body) + body


def hostile() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield every attempt with its name."""
    scan = phantom_jpeg(1)
    files = {
        "empty file": b"",
        "one byte": b"\x89",
        "null bytes": bytes(100_000),
        "png that declares 50,000 x 50,000": png(50_000, 50_000),
        "png that declares 2^31 x 2^31": png(2**31 - 1, 2**31 - 1),
        "png of 100 megapixels of zeros": png(10_000, 10_000, rows=10_000),
        "png of 15 megapixels of zeros, under the cap": png(4000, 3750, rows=3750),
        "png with a text chunk that unpacks to 256 MiB": text_bomb(),
        "jpeg that declares 65,500 x 65,500": jpeg_declaring(scan, 65_500),
        "jpeg cut in half": scan[: len(scan) // 2],
        "jpeg with a zip behind it": scan + archive(),
        "zip named png": archive(),
        "gif with script in it": b"GIF89a/*" + b"<script>alert(1)</script>" * 50,
        "svg with a reference to a file": b'<svg><image href="file:///etc/passwd"/></svg>',
        "html": b"<!doctype html><script>alert(1)</script>",
        "eps that runs a program": b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id)(r)file",
        "pickle": b"\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93.",
        "elf": b"\x7fELF" + os.urandom(5000),
        "tiff whose directory leads to itself": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "tiff of floats, all NaN": tiff_of_nan(),
        "gif of 2,000 frames": gif(2000),
        "random bytes, 30 MB": os.urandom(30_000_000),
    }
    for name, data in files.items():
        yield name, lambda data=data: upload("a.png", data)
    for name in ("../../../etc/passwd", "a\x00.png", "C:\\boot.ini", "x" * 5000, "\u202egnp.jpg"):
        yield f"a file named {name[:20]!r}", lambda name=name: upload(name, scan)
    endless = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    yield "4 GB announced, nothing sent", lambda: raw(HEAD, b"Content-Length: 4294967296\r\n\r\n")
    yield (
        "endless chunks",
        lambda: raw(endless, b"10000\r\n" + bytes(65536) + b"\r\n", count=10_000),
    )
    yield "a chunk of 2^60 bytes", lambda: raw(endless, b"1000000000000000\r\n")
    yield "100,000 chunks of a byte", lambda: raw(endless, b"1\r\na\r\n" * 1000, count=100)
    yield "10,000 parts", lambda: raw(form(*[part(b"x")] * 10_000))
    yield "10,000 headers of a part", lambda: raw(form(part(b"x", b"a\r\n" + b"X: 1\r\n" * 10_000)))
    yield "10,000 headers", lambda: raw(HEAD + b"X-Many: 1\r\n" * 10_000 + b"\r\n")
    yield "a header of 1 MB", lambda: raw(HEAD + b"X-Long: " + b"a" * 1_000_000 + b"\r\n\r\n")
    yield "a form that never ends", lambda: raw(FORM + b"Content-Length: 50\r\n\r\n", part(b"x"))
    yield "a form within a form", lambda: raw(form(part(form(part(scan)))))
    yield "a body shorter than announced", lambda: raw(FORM, b"Content-Length: 999\r\n\r\nabc")
    yield "two lengths", lambda: raw(HEAD, b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde")
    smuggled = b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"
    yield "a smuggled request", lambda: raw(HEAD, smuggled)
    yield "slow headers", lambda: raw(HEAD, b"X: 1\r\n", pause=0.5, count=60)
    yield (
        "a slow body",
        lambda: raw(FORM + b"Content-Length: 9999\r\n\r\n", b"a", pause=0.5, count=60),
    )
    yield "TLS", lambda: raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))
    yield (
        "an address out of the tree",
        lambda: raw(b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    )
    yield "deep JSON", deep_json
    yield "300 idle connections", idle_connections


def png(width: int, height: int, rows: int = 1) -> bytes:
    """Write a gray PNG of zeros with a header of any size."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(width + 1)) for _ in range(rows if width < 1e6 else 0))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return signed(chunk(b"IHDR", head), chunk(b"IDAT", packed + packer.flush()))


def text_bomb() -> bytes:
    """Write a PNG with a compressed text that is far longer than the file."""
    packed = zlib.compress(bytes(256 * 2**20), 9)
    head = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(65 * 64)))
    return signed(chunk(b"IHDR", head), chunk(b"zTXt", b"Comment\x00\x00" + packed), body)


def signed(*chunks: bytes) -> bytes:
    """Put chunks into a PNG."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def chunk(kind: bytes, body: bytes) -> bytes:
    """Write one chunk of a PNG."""
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def jpeg_declaring(data: bytes, side: int) -> bytes:
    """Change the size in a JPEG's header."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", side, side) + data[at + 9 :]


def archive() -> bytes:
    """Write a zip whose entry wants out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../../evil.png", bytes(10_000_000))
    return file.getvalue()


def tiff_of_nan() -> bytes:
    """Write a TIFF of floats that are no numbers."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 64), np.nan, np.float32)).save(file, "TIFF")
    return file.getvalue()


def gif(frames: int) -> bytes:
    """Write a GIF with many frames."""
    file = io.BytesIO()
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)) for _ in range(frames)]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:])
    return file.getvalue()


def deep_json() -> str:
    """Send JSON that is nested far deeper than a parser should follow."""
    text = '{"inputs":' + "[" * 200_000 + "]" * 200_000 + "}"
    url = f"http://127.0.0.1:{PORT}/v2/models/tumorlens/infer"
    return str(httpx.post(url, content=text, timeout=60).status_code)


def idle_connections() -> str:
    """Open many connections and say nothing; a request beside them has to be answered."""
    many = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(300)]
    try:
        response = httpx.get(f"http://127.0.0.1:{PORT}/v1/predictions?limit=1", timeout=60)
        json.loads(response.text)
        return str(response.status_code)
    finally:
        for connection in many:
            connection.close()


if __name__ == "__main__":
    main()
