"""A dashboard that runs, and a browser to use it with."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PATIENCE = 120_000  # milliseconds that a page may take on a busy machine


@dataclass(frozen=True)
class Running:
    """A dashboard and its places."""

    url: str
    home: Path  # HOME and TMPDIR of the server
    pid: int


@contextmanager
def dashboard(home: Path, *options: str) -> Iterator[Running]:
    """Serve a dashboard on a free port of this machine, as the command line does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    temporary = home / "tmp"
    temporary.mkdir(parents=True)
    environment = os.environ | {
        "HOME": str(home), "TMPDIR": str(temporary), "XDG_DATA_HOME": str(home / "data"),
    }  # fmt: skip
    command = ["tumorlens", "dashboard", "--no-open", "--port", str(port), *options]
    server = subprocess.Popen(
        [os.sys.executable, "-m", *command], env=environment, cwd=home,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(f"http://localhost:{port}/_stcore/health", server)
        yield Running(f"http://localhost:{port}", home, server.pid)
    finally:
        server.terminate()
        server.wait(20)


def _wait(url: str, server: subprocess.Popen) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError(f"the dashboard ended with {server.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the dashboard does not answer")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium without a window."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def open_page(page: Page, url: str) -> None:
    """Open a page and wait until it is drawn."""
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.wait_for_selector(".st-key-research-line")
    settle(page)


def settle(page: Page) -> None:
    """Wait until the script has run."""
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_timeout(250)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    # What a rerun left behind is faded, and fails any check of contrast.
    page.wait_for_function("!document.querySelector('[data-stale=true]')")


def drop(page: Page, *paths: Path) -> None:
    """Drop files into the uploader."""
    page.set_input_files("[data-testid=stFileUploaderDropzoneInput]", [str(p) for p in paths])
