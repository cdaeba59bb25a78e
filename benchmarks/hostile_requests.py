"""Some sixty requests that nobody should send; serve_hostile.py sends them one by one."""

import io
import json
import os
import socket
import time
import zipfile
from collections.abc import Callable, Iterator

import hostile_files
import httpx
import numpy as np
from service_process import phantom_jpeg

PORT = 8920
BOUNDARY = b"hostile"
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
FORM = HEAD + b"Content-Type: multipart/form-data; boundary=" + BOUNDARY + b"\r\n"
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
Attempt = Callable[[], str]


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


def hostile() -> Iterator[tuple[str, Attempt]]:
    """Yield every attempt with its name."""
    scan = phantom_jpeg(1)
    files = {
        "empty file": b"",
        "one byte": b"\x89",
        "null bytes": bytes(100_000),
        **{f"{f} that declares 65,535 x 65,535": hostile_files.declaring(f) for f in FORMATS},
        "png that declares 2^31 x 2^31": hostile_files.png(2**31 - 1, 2**31 - 1),
        "png of 100 megapixels of zeros": hostile_files.png(10_000, 10_000, rows=10_000),
        "png of 15 megapixels of zeros, under the cap": hostile_files.png(4000, 3750, rows=3750),
        "png with a text that unpacks to 256 MiB": hostile_files.text_bomb(mebibytes=256),
        "png with a profile that unpacks to 256 MiB": hostile_files.profile_bomb(256),
        "png with 60 texts of a megabyte": hostile_files.text_bomb(60, 1),
        "png of a million chunks": hostile_files.png(64, 64, rows=64, idats=1_000_000),
        "jpeg with 5,000 entries of EXIF that overlap": hostile_files.exif_bomb(),
        "jpeg of 40,000 scans": hostile_files.jpeg_of_scans(40_000),
        "jpeg of 100 scans, 16 megapixels": hostile_files.jpeg_of_scans(100),
        "tiff of 60,000 pages": hostile_files.tiff_of_pages(60_000),
        "tiff of 7 million strips": hostile_files.tiff_with(
            {273: (4, 7_000_000, 8), 279: (4, 7_000_000, 8)}, extra=28_000_000
        ),
        "tiff with tiles of 60,000 x 60,000": hostile_files.tiff_with(
            {322: (4, 1, 60_000), 323: (4, 1, 60_000), 324: (4, 1, 300), 325: (4, 1, 100)}
        ),
        "tiff with tiles outside of it": hostile_files.tiff_with(
            {322: (4, 1, 64), 323: (4, 1, 64), 324: (4, 1, 10**9), 325: (4, 1, 10**9)}
        ),
        "webp of 16 megapixels": hostile_files.webp(),
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
        "tiff of floats, all NaN": hostile_files.encoded(
            np.full((64, 64), np.nan, np.float32), "TIFF"
        ),
        "gif of a million frames": hostile_files.gif_of_frames(1_000_000),
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


def archive() -> bytes:
    """Write a zip whose entry wants out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../../evil.png", bytes(10_000_000))
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
