"""The checks that make up the status of the platform, run at once and each within a time limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from kubefox.errors import FoxError
from kubefox.status import Check, CheckState, PlatformStatus, worst

logger = logging.getLogger(__name__)

CHECK_S = 5.0
"""Time that one check may take."""

RunCheck = Callable[[], Awaitable[Check]]
"""Returns the state of one thing."""


async def platform_status(
    version: str, checks: Mapping[str, RunCheck], check_s: float = CHECK_S
) -> PlatformStatus:
    """Return the status of the platform; a check that fails is degraded.

    Args:
        version: Version of the platform.
        checks: By their names, in order.
        check_s: Time that one check may take.
    """
    found = tuple(await asyncio.gather(*(_run(name, run, check_s) for name, run in checks.items())))
    return PlatformStatus(state=worst(found), version=version, checks=found)


async def _run(name: str, run: RunCheck, check_s: float) -> Check:
    try:
        async with asyncio.timeout(check_s):
            return await run()
    except TimeoutError:
        detail = f"no answer within {check_s:g} s"
    except FoxError as error:
        detail = error.detail
    except Exception as error:
        logger.exception("the check of %s failed", name)
        detail = f"the check failed ({type(error).__name__}): see the log of the control process"
    return Check(name=name, state=CheckState.DEGRADED, detail=detail)
