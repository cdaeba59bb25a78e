"""Does the service's memory grow? A steady rate for a long time, and the slope of what is resident.

    python benchmarks/serve_soak.py [--minutes 30] [--rate 5]

Everything goes over 127.0.0.1. Two of a hundred requests are unusable files, one asks for a
report, so that the ways less travelled are in it too.
"""

import argparse
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from service_process import phantom_jpeg, resident_mib, start

WARM_SHARE = 0.2  # of the time, before the slope is taken


def main() -> None:
    """Run and print the slope."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--rate", type=float, default=5, help="requests a second")
    chosen = arguments.parse_args()
    scans = [phantom_jpeg(seed) for seed in range(16)]
    with tempfile.TemporaryDirectory() as folder:
        service = start(Path(folder), port=8703)
        try:
            rows, counts = soak(service, scans, chosen)
        finally:
            service.stop()
    kept = rows[int(len(rows) * WARM_SHARE) :]
    slope = np.polyfit(kept[:, 0] / 3600, kept[:, 1], 1)[0]
    print(f"{counts} in {chosen.minutes:.0f} minutes at {chosen.rate:g} requests/s")
    print(
        f"resident {kept[0, 1]:.1f} MiB after warming up, {kept[-1, 1]:.1f} MiB at the end, "
        f"slope {slope:+.2f} MiB an hour (n={len(kept)} samples)"
    )


def soak(service, scans, chosen) -> tuple[np.ndarray, dict[int, int]]:
    """Ask at the rate; gives rows of seconds and MiB, and how often each status came."""
    rows: list[tuple[float, float]] = []
    counts: dict[int, int] = {}
    began, number = time.monotonic(), 0
    with httpx.Client(base_url=service.url, timeout=60) as client:
        while (at := time.monotonic() - began) < 60 * chosen.minutes:
            data = b"no picture" if number % 50 == 0 else scans[number % len(scans)]
            query = "?report=pdf" if number % 100 == 1 else ""
            response = client.post(f"/v1/predict{query}", files={"file": ("a.jpg", data)})
            counts[response.status_code] = counts.get(response.status_code, 0) + 1
            if number % 20 == 0:
                rows.append((at, resident_mib(service.process.pid)))
            number += 1
            time.sleep(max(0.0, number / chosen.rate - (time.monotonic() - began)))
    return np.array(rows), counts


if __name__ == "__main__":
    main()
