"""Runs the checks of one client, in order, and prints one JSON line for each: what it is, and whether it held."""

import asyncio
import importlib.metadata
import inspect
import json
import os
import sys
import time
import traceback
from typing import Any, Callable

BASE_URL = os.environ["COLONNADE_BASE_URL"]
ROOT_URL = BASE_URL.removesuffix("/v1")
API_KEY = os.environ["COLONNADE_API_KEY"]
CHAT_MODEL = os.environ["COLONNADE_CHAT_MODEL"]
EMBEDDING_MODEL = os.environ["COLONNADE_EMBEDDING_MODEL"]

WEATHER_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

_checks: list[tuple[str, Callable[[], Any]]] = []


def check(name: str):
    """Marks a function as a check. It holds unless it raises; it may be a coroutine function."""

    def register(function: Callable[[], Any]) -> Callable[[], Any]:
        _checks.append((name, function))
        return function

    return register


def run(package: str) -> None:
    """Runs all checks. `package` is the distribution whose version the table names."""
    print(json.dumps({"version": importlib.metadata.version(package)}), flush=True)
    failed = False
    for name, function in _checks:
        started = time.monotonic()
        detail = ""
        try:
            result = function()
            if inspect.isawaitable(result):
                asyncio.run(_bounded(result))
        except BaseException as error:  # a client that ends the process is a failure too
            failed = True
            last = traceback.extract_tb(error.__traceback__)[-1]
            detail = f"{type(error).__name__}: {error} ({os.path.basename(last.filename)}:{last.lineno})"[:600]
        line = {
            "check": name,
            "outcome": "failed" if detail else "passed",
            "detail": detail,
            "seconds": round(time.monotonic() - started, 2),
        }
        print(json.dumps(line), flush=True)
    sys.stdout.flush()
    # Some libraries leave threads behind that would keep the process alive.
    os._exit(1 if failed else 0)


async def _bounded(awaitable: Any) -> None:
    await asyncio.wait_for(awaitable, 120)


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b))
    return dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5)


def same_direction(vectors: list[list[float]]) -> None:
    """The vectors are of three sentences, of which the first two are alike. Wrongly decoded vectors are not."""
    assert len(vectors) == 3, f"{len(vectors)} vectors"
    assert len(vectors[0]) == 384, f"{len(vectors[0])} dimensions"
    near, far = cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2])
    assert near > 0.8 > 0.5 > far, f"cosines {near:.2f} and {far:.2f}"


SENTENCES = [
    "That is a happy person.",
    "That is a very happy person.",
    "Today is a sunny day.",
]
