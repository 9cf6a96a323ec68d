import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.nats.credentials.login import Login
from broker.runtime.confinement import Confinement, encode
from broker.storage.pod_logs import LogQuery
from kubefox.distill import Version
from kubefox.errors import InternalError
from pods.base import PodDriver, PodSpec
from pods.guardian import GUARDIAN
from pods.liveness import BUSY_BEAT_S, NOT_WATCHED, LivenessBounds
from pods.local import LocalDriver
from pods.logs import PodLogs, open_logs
from tests.pods import programs
from tests.pods.driver_contract import Bundles, DriverContract
from tests.pods.processes import children, is_gone, reap_zombies, wait_until


class SameLogins:
    """Logins that are the same for each start of a pod."""

    issuer = "test"

    def salt(self, version: Version) -> str:
        """Return no salt: there is no key."""
        return ""

    def use_salt(self, version: Version, salt: str) -> None:
        """Do nothing: there is no key."""

    def log_in(self, spec: PodSpec) -> Login:
        return Login(url="nats://127.0.0.1:4222", process_id=spec.id)

    log_in_first = log_in

    def retire(self, version: Version) -> None:
        """Do nothing: nothing was made."""


LOGINS = SameLogins()


def pods_of_this_process() -> frozenset[int]:
    """Return its children without the guardian, which ends with it."""
    return children() - {GUARDIAN.pid}


async def lines_of(logs: PodLogs, count: int) -> list[str]:
    lines: list[str] = []
    async for line in logs.read(LogQuery(follow=True)):
        lines.append(line.line)
        if len(lines) == count:
            break
    return lines


class TestLocalDriver(DriverContract):
    @pytest.fixture(autouse=True)
    async def _opened_logs(self, tmp_path: Path) -> AsyncIterator[None]:
        self.data_dir = tmp_path
        reap_zombies()
        before = pods_of_this_process()
        async with open_logs(tmp_path / "logs") as self.logs:
            yield
        # No pod of the test is left, not even as a zombie; adopted orphans are reaped at times.
        await wait_until(lambda: reap_zombies() - {GUARDIAN.pid} <= before)

    def open_driver(
        self,
        bundles: Bundles,
        *,
        grace_s: float = 30,
        liveness: LivenessBounds = NOT_WATCHED,
        command: tuple[str, ...] = programs.COMMAND,
    ) -> LocalDriver:
        return LocalDriver(
            data_dir=self.data_dir,
            logins=LOGINS,
            fetch=bundles.get,
            logs=self.logs,
            command=command,
            grace_s=grace_s,
            liveness=liveness,
        )

    def confinement(self, bundle: str) -> str:
        work = str(self.data_dir / "work" / "pod-1")
        return encode(Confinement(readable=(bundle,), writable=(work,)))

    async def test_the_environment_of_a_pod_names_its_version_and_its_bundle(
        self, driver: PodDriver, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = bundles.add(
            "import os\n"
            "for name in sorted(os.environ):\n"
            "    if name.startswith('FOX_') and not name.endswith('_FD'):\n"
            "        print(name, os.environ[name])\n"
            "print(os.read(int(os.environ['FOX_NATS_LOGIN_FD']), 99).decode().strip())\n"
            "print(os.environ['HOME'], os.environ['TMPDIR'], os.getcwd())"
        )
        monkeypatch.setenv("FOX_CONTROL_PORT", "8081")
        monkeypatch.setenv("FOX_STREAM_IDLE_S", "5")

        async with self.open_driver(bundles).run(spec) as pod:
            await pod.wait_gone()

        folder = str(self.data_dir / "bundles" / spec.hash)
        assert await lines_of(self.logs, 14) == [
            "FOX_APP order-app",
            f"FOX_BUNDLE {folder}",
            "FOX_COMPONENT api-server",
            f"FOX_CONFINEMENT {self.confinement(folder)}",
            "FOX_ENTRY main.py",
            f"FOX_HASH {spec.hash}",
            "FOX_LIFELINE stdin",
            "FOX_LOG_FORMAT console",
            "FOX_LOG_LEVEL INFO",
            "FOX_POD pod-1",
            "FOX_POD_IS_NEW false",
            "FOX_STREAM_IDLE_S 5",
            '{"url":"nats://127.0.0.1:4222","process_id":"pod-1","token":""}',
            " ".join([str(self.data_dir / "work" / "pod-1")] * 3),
        ]

    async def test_stdout_and_stderr_are_logged_in_order(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        source = "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('end')"

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_gone()

        assert await lines_of(self.logs, 3) == ["out", "err", "end"]

    async def test_large_output_is_read_to_its_end(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add("print('x' * 8191, *range(20_000), sep='\\n')")) as pod:
            await pod.wait_gone()

        (line,) = [line async for line in self.logs.read(LogQuery(tail=1))]
        assert line.line == "19999"

    async def test_the_end_of_a_killed_pod_names_the_signal(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.GOOD)) as pod:
            await pod.wait_ready()
            assert pod.pid
            os.kill(pod.pid, signal.SIGKILL)
            await pod.wait_gone()

        assert pod.end.message == "killed by SIGKILL"

    async def test_an_info_line_is_not_the_exit_reason(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        line = '{"time": "now", "level": "info", "message": "ready"}'
        source = f"import os; print({line!r}, flush=True); os._exit(3)"

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_gone()

        assert pod.end.message == "exited with code 3"

    async def test_a_pod_without_further_heartbeats_is_killed(self, bundles: Bundles) -> None:
        source = programs.READY + programs.BEAT + "beat()\n" + programs.UNTIL_LIFELINE_ENDS
        driver = self.open_driver(bundles, liveness=LivenessBounds(alone_s=0.2))

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_ready()
            await pod.wait_gone()

        assert "after its event loop stood still for" in pod.end.message

    async def test_each_heartbeat_of_a_pod_is_read(self, bundles: Bundles) -> None:
        source = programs.DRAIN + programs.BEAT + "while True: beat(); time.sleep(0.01)\n"
        driver = self.open_driver(bundles, liveness=LivenessBounds(alone_s=120))
        begin_s = time.monotonic()

        async with driver.run(bundles.add(source)) as pod:
            await wait_until(lambda: pod.last_beat() is not None)
            first = pod.last_beat()
            await wait_until(lambda: pod.last_beat() != first)
            second = pod.last_beat()
            end_s = time.monotonic()

        assert first is not None
        assert second is not None
        assert begin_s < first.at_s < second.at_s < end_s
        assert first.next_s == BUSY_BEAT_S
        assert pod.end.is_clean

    async def test_the_child_processes_of_a_pod_end_with_it(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        source = (
            "import subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "print(child.pid)\n" + programs.READY + "time.sleep(600)"
        )

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_ready()
            (child,) = await lines_of(self.logs, 1)
            assert pod.pid
            os.kill(pod.pid, signal.SIGKILL)
            await pod.wait_gone()

        await wait_until(lambda: is_gone(int(child)))

    async def test_a_pod_leads_its_own_session_so_ctrl_c_does_not_reach_it(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.GOOD)) as pod:
            assert pod.pid
            assert os.getsid(pod.pid) == pod.pid != os.getsid(0)

    async def test_a_program_that_cannot_be_started_is_named(self, bundles: Bundles) -> None:
        driver = self.open_driver(bundles, command=("/nowhere/python",))

        with pytest.raises(InternalError, match="/nowhere/python cannot be started: No such file"):
            async with driver.run(bundles.add(programs.GOOD)):
                raise AssertionError("it runs")

    async def test_a_pod_exits_when_its_driver_was_killed(self, bundles: Bundles) -> None:
        spec = bundles.add(programs.STUBBORN)
        (self.data_dir / "bundle").write_bytes(bundles.held[spec.hash])
        # Servers of other tests may be children of this process too.
        before = reap_zombies()
        platform = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PLATFORM, self.data_dir, spec.hash, stdout=subprocess.PIPE
        )
        assert platform.stdout is not None
        pids = [int(pid) for pid in re.findall(rb"\d+", await platform.stdout.readline())]

        platform.kill()
        await platform.wait()

        assert len(pids) == 2
        await wait_until(lambda: all(is_gone(pid) for pid in pids))
        await wait_until(lambda: reap_zombies() - {GUARDIAN.pid} <= before)


PLATFORM = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from pods.base import PodSpec
    from pods.local import LocalDriver
    from pods.logs import open_logs
    from broker.nats.access import Access
    from pods.logins import PodLogins
    from tests.pods import programs

    data_dir, digest = Path(sys.argv[1]), sys.argv[2]

    async def fetch(digest):
        return (data_dir / "bundle").read_bytes()

    async def main():
        async with open_logs(data_dir / "logs") as logs:
            driver = LocalDriver(data_dir=data_dir, fetch=fetch, logs=logs,
                                 logins=PodLogins(Access("", None)),
                                 command=programs.COMMAND)
            spec = PodSpec(id="pod-1", app="order-app", component="api-server", hash=digest)
            async with driver.run(spec) as one, driver.run(spec) as two:
                await asyncio.gather(one.wait_ready(), two.wait_ready())
                print(one.pid, two.pid, flush=True)
                await asyncio.Event().wait()

    asyncio.run(main())
""")


def test_a_pod_spec_names_the_subject_of_its_version() -> None:
    spec = PodSpec(id="pod-1", app="order-app", component="api-server", hash="f" * 32)

    assert spec.subject == f"evt.order-app.api-server.{'f' * 32}"
