"""The ASGI application that Streamlit, or any ASGI server, runs.

It gives every browser a cookie of its own, so that a reader finds his history again after a
reload and nobody else's, and it warms the network up before the first page is asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware

from tumorlens.services.dashboard.middleware import Door
from tumorlens.services.dashboard.session import expire, load_shared

HOUR = 3600.0  # seconds
# Uploads above 1 MB would pass through a temporary file; the cap on uploads is below this.
MultiPartParser.spool_max_size = 32 * 2**20


@asynccontextmanager
async def _warmed(_app: Any) -> AsyncIterator[dict[str, Any]]:
    """Load what all sessions share."""
    await asyncio.to_thread(load_shared)
    forgetting = asyncio.create_task(_forget())
    yield {}
    forgetting.cancel()


async def _forget() -> None:
    """Remove answers that are older than is wished, at once and every hour."""
    while True:
        await asyncio.to_thread(expire, load_shared())
        await asyncio.sleep(HOUR)


app = st.App(Path(__file__).with_name("script.py"), middleware=[Middleware(Door)], lifespan=_warmed)
