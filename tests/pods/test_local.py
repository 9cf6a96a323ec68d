import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.pod_logs import LogQuery
from model.errors import InternalError
from pods.base import PodDriver, PodSpec
from pods.local import LocalDriver
from pods.logs import PodLogs, open_logs
from tests.pods import programs
from tests.pods.driver_contract import Bundles, DriverContract
from tests.pods.processes import children, is_gone, wait_until

NATS_URL = "nats://127.0.0.1:4222"


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
        before = children()
        async with open_logs(tmp_path / "logs") as self.logs:
            yield
        # Whatever a test did with its pods, none is left, not even as a zombie.
        assert children() == before

    def open_driver(
        self,
        bundles: Bundles,
        *,
        grace_s: float = 30,
        liveness_s: float = 0,
        command: tuple[str, ...] = programs.COMMAND,
    ) -> LocalDriver:
        return LocalDriver(
            data_dir=self.data_dir,
            nats_url=NATS_URL,
            fetch=bundles.get,
            logs=self.logs,
            command=command,
            grace_s=grace_s,
            liveness_s=liveness_s,
        )

    async def test_a_pod_is_told_who_it_is_and_where_its_code_lies(
        self, driver: PodDriver, bundles: Bundles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = bundles.add(
            "import os\n"
            "for name in sorted(os.environ):\n"
            "    if name.startswith('FOX_') and name != 'FOX_READY_FD':\n"
            "        print(name, os.environ[name])\n"
            "print(os.getcwd())"
        )
        monkeypatch.setenv("FOX_CONTROL_PORT", "8081")
        monkeypatch.setenv("FOX_STREAM_IDLE_S", "5")

        async with self.open_driver(bundles).run(spec) as pod:
            await pod.wait_gone()

        folder = str(self.data_dir / "bundles" / spec.hash)
        assert await lines_of(self.logs, 12) == [
            "FOX_APP order-app",
            f"FOX_BUNDLE {folder}",
            "FOX_COMPONENT api-server",
            "FOX_ENTRY main.py",
            f"FOX_HASH {spec.hash}",
            "FOX_LIFELINE stdin",
            "FOX_LOG_FORMAT console",
            "FOX_LOG_LEVEL INFO",
            f"FOX_NATS_URL {NATS_URL}",
            "FOX_POD pod-1",
            "FOX_STREAM_IDLE_S 5",
            folder,
        ]

    async def test_output_and_errors_are_kept_in_order(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        source = "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('end')"

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_gone()

        assert await lines_of(self.logs, 3) == ["out", "err", "end"]

    async def test_a_flood_of_output_is_read_to_its_end(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add("print('x' * 8191, *range(20_000), sep='\\n')")) as pod:
            await pod.wait_gone()

        (line,) = [line async for line in self.logs.read(LogQuery(tail=1))]
        assert line.line == "19999"

    async def test_the_signal_that_killed_a_pod_is_told(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        async with driver.run(bundles.add(programs.GOOD)) as pod:
            await pod.wait_ready()
            assert pod.pid
            os.kill(pod.pid, signal.SIGKILL)
            await pod.wait_gone()

        assert pod.end.message == "killed by SIGKILL"

    async def test_a_pod_that_ends_without_a_word_is_not_explained_by_its_normal_life(
        self, driver: PodDriver, bundles: Bundles
    ) -> None:
        line = '{"time": "now", "level": "info", "message": "ready"}'
        source = f"import os; print({line!r}, flush=True); os._exit(3)"

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_gone()

        assert pod.end.message == "exited with code 3"

    async def test_a_pod_that_says_no_more_that_it_runs_is_killed(self, bundles: Bundles) -> None:
        source = programs.READY + programs.BEAT + "beat()\n" + programs.UNTIL_LIFELINE_ENDS
        driver = self.open_driver(bundles, liveness_s=0.2)

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_ready()
            await pod.wait_gone()

        assert "after its event loop stood still for" in pod.end.message

    async def test_a_pod_that_says_that_it_runs_is_left_alone(self, bundles: Bundles) -> None:
        source = programs.READY + programs.BEAT + "for _ in range(20): beat(); time.sleep(0.05)\n"
        driver = self.open_driver(bundles, liveness_s=0.2)

        async with driver.run(bundles.add(source)) as pod:
            await pod.wait_gone()

        assert pod.end.is_clean

    async def test_what_a_pod_started_goes_with_it(
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

    async def test_ctrl_c_in_a_terminal_does_not_reach_a_pod(
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

    async def test_a_pod_whose_driver_was_killed_ends_by_itself(self, bundles: Bundles) -> None:
        spec = bundles.add(programs.STUBBORN)
        (self.data_dir / "bundle").write_bytes(bundles.held[spec.hash])
        platform = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PLATFORM, self.data_dir, spec.hash, stdout=subprocess.PIPE
        )
        assert platform.stdout is not None
        pids = [int(pid) for pid in re.findall(rb"\d+", await platform.stdout.readline())]

        platform.kill()
        await platform.wait()

        assert len(pids) == 2
        await wait_until(lambda: all(is_gone(pid) for pid in pids))


PLATFORM = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from pods.base import PodSpec
    from pods.local import LocalDriver
    from pods.logs import open_logs
    from tests.pods import programs

    data_dir, digest = Path(sys.argv[1]), sys.argv[2]

    async def fetch(digest):
        return (data_dir / "bundle").read_bytes()

    async def main():
        async with open_logs(data_dir / "logs") as logs:
            driver = LocalDriver(data_dir=data_dir, nats_url="", fetch=fetch, logs=logs,
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
