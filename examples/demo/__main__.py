"""``make demo``: tell the story, then stay up until Ctrl-C; DEMO_ONCE=1 ends instead.

DEMO_HTTP_PORT chooses the port of the app's URLs; it is 8080, or a free one if that is taken.
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

from examples.demo.fox import CommandFailed, Platform
from examples.demo.page import Browser
from examples.demo.scene import Scene
from examples.demo.story import DEPLOYMENTS, tell_all
from examples.demo.telling import Teller, Unexpected
from examples.order_app import VERSIONS, build

HTTP_PORT = 8080
SHOWN_LINES = 40
FOX_DIR = Path(sys.executable).parent


def main() -> int:
    """Return the exit code: 0, or 1 when something is not as the story says."""
    tell = Teller(Console())
    try:
        asyncio.run(play(tell))
    except (Unexpected, CommandFailed, TimeoutError) as error:
        tell.fail(str(error) or "it took too long")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 128 + signal.SIGINT
    return 0


async def play(tell: Teller) -> None:
    """Tell the story on a platform whose data is gone afterwards."""
    _stop_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="kubefox-demo-") as folder:
        repository = Path(folder, "order-app")
        build(repository)
        tell.say(f"[bold]Order App[/bold]: a Git repository with {', '.join(VERSIONS)}")
        platform = Platform(Path(folder, "data"), http_port=http_port())
        async with platform, Browser(platform.http_url) as browser:
            tell.say(f"[bold]fox up[/bold]: {platform.http_url}, control {platform.control_url}")
            scene = Scene(tell=tell, platform=platform, browser=browser, repository=repository)
            try:
                await tell_all(scene)
            except (Unexpected, CommandFailed, TimeoutError):
                tell.log(platform.log.read_text().splitlines()[-SHOWN_LINES:])
                raise
            if not os.environ.get("DEMO_ONCE"):
                await stay(scene)


async def stay(scene: Scene) -> None:
    """Show what there is to click, and wait for Ctrl-C."""
    scene.tell.chapter("Now click; Ctrl-C ends it")
    for team in ("team-a", "team-b"):
        scene.tell.link(f"{team}, released", scene.browser.url(team))
        for name in DEPLOYMENTS:
            scene.tell.link(f"{team}, {name}", scene.browser.url(team, deployment=name))
    scene.tell.say("\n  In another terminal, to ask it things with `fox get pods` and the like:")
    scene.tell.say(f"  export FOX_CONTROL_URL={scene.platform.control_url} PATH={FOX_DIR}:$PATH")
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


def http_port() -> int:
    """Return the port for the app's URLs; 0 for any free one."""
    if wanted := os.environ.get("DEMO_HTTP_PORT"):
        return int(wanted)
    with socket.socket() as probe:
        is_taken = probe.connect_ex(("127.0.0.1", HTTP_PORT)) == 0
    return 0 if is_taken else HTTP_PORT


def _stop_on_sigterm() -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


if __name__ == "__main__":
    sys.exit(main())
