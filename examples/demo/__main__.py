"""``make demo``: run the story, then keep the platform running until Ctrl-C.

With DEMO_ONCE=1 it ends after the story. DEMO_HTTP_PORT sets the port of the app's URLs; the
default is 8080, or any free port if 8080 is in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from examples.demo.context import DemoContext
from examples.demo.narrator import Narrator, Unexpected
from examples.demo.page import Browser
from examples.demo.platform import CommandFailed, Platform
from examples.demo.story import DEPLOYMENTS, run_story
from examples.order_app import VERSIONS, build

HTTP_PORT = 8080
SHOWN_LINES = 40
FOX_DIR = Path(sys.executable).parent


def main() -> int:
    """Run the demo; return the exit code: 1 if a result differs from what the story expects."""
    narrator = Narrator(Console())
    try:
        asyncio.run(run(narrator))
    except (Unexpected, CommandFailed, TimeoutError) as error:
        narrator.fail(str(error) or "a step of the demo took too long")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 128 + signal.SIGINT
    return 0


async def run(narrator: Narrator) -> None:
    """Run the story on a platform with a temporary data folder."""
    _stop_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="kubefox-demo-") as folder:
        repository = Path(folder, "order-app")
        build(repository)
        narrator.say(f"[bold]Order App[/bold]: a Git repository with {', '.join(VERSIONS)}")
        platform = Platform(Path(folder, "data"), http_port=http_port())
        async with platform, Browser(platform.http_url) as browser:
            urls = f"{platform.http_url}, control {platform.control_url}"
            narrator.say(f"[bold]fox up[/bold]: {urls}")
            demo = DemoContext(
                narrator=narrator, platform=platform, browser=browser, repository=repository
            )
            try:
                await run_story(demo)
            except (Unexpected, CommandFailed, TimeoutError):
                narrator.log(platform.log.read_text().splitlines()[-SHOWN_LINES:])
                raise
            if not os.environ.get("DEMO_ONCE"):
                await stay(demo)


async def stay(demo: DemoContext) -> None:
    """Show the URLs of the app, and wait for Ctrl-C."""
    demo.narrator.chapter("Open the URLs; press Ctrl-C to stop")
    for team in ("team-a", "team-b"):
        demo.narrator.link(f"{team}, released", demo.browser.url(team))
        for name in DEPLOYMENTS:
            demo.narrator.link(f"{team}, {name}", demo.browser.url(team, deployment=name))
    demo.narrator.say("\n  To use `fox get pods` and other commands in another terminal:")
    demo.narrator.say(f"  export FOX_DATA_DIR={demo.platform.data_dir} PATH={FOX_DIR}:$PATH")
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


def http_port() -> int:
    """Return the port for the app's URLs; 0 means any free port."""
    if wanted := os.environ.get("DEMO_HTTP_PORT"):
        return int(wanted)
    with socket.socket() as probe:
        is_in_use = probe.connect_ex(("127.0.0.1", HTTP_PORT)) == 0
    return 0 if is_in_use else HTTP_PORT


def _stop_on_sigterm() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    sys.exit(main())
