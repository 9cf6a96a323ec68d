"""Apps of components whose code differs in a remark, as deployments for the control API."""

from __future__ import annotations

from fox.cli.support.bundle_upload import upload_bundles
from fox.cli.support.control_client import ControlClient
from fox.cli.support.kinds import DEPLOYMENTS
from fox.source.app import ComponentSource
from fox.source.export import export_definitions
from kubefox.component import ComponentDefinition, ComponentVersion
from kubefox.deployment import Deployment
from kubefox.digest import FileMode, RuntimeSpec, SourceFile, content_hash

_CODE = '''"""Answers with its name."""

from fox import Context, Kit

kit = Kit(title="Benchmark")


@kit.default
async def answer(_ctx: Context) -> str:
    """Answer."""
    return "{remark}"
'''
_RUNTIME = RuntimeSpec()


class Apps:
    """Makes deployments of apps that have so many components each, and stores their code.

    Args:
        control: The control API.
        size: Components of an app.
    """

    def __init__(self, control: ControlClient, size: int) -> None:
        self._control = control
        self._names = [f"component-{number}" for number in range(size)]
        first = [_component(name, "first") for name in self._names]
        # All versions of a component declare the same.
        self._definitions = export_definitions(first)

    def prepare(self, app: str, *, changed: str = "") -> dict[str, object]:
        """Store the code of an app, and return the request that deploys it.

        Args:
            app: Name of the app.
            changed: A remark that changes the first component; empty for the first version.
        """
        components = [_component(name, app) for name in self._names]
        if changed:
            components[0] = _component(self._names[0], f"{app} {changed}")
        new = components[:1] if changed else components
        upload_bundles(self._control, new)
        hashes = {component.name: component.hash for component in components}
        name = f"{app}-{changed}" if changed else app
        return {
            "deployment": Deployment(name=name, app=app, components=hashes),
            "components": [self._version(app, component) for component in new],
        }

    def deploy(self, request: dict[str, object]) -> None:
        """Deploy an app that is prepared."""
        wanted = request["deployment"]
        assert isinstance(wanted, Deployment)
        self._control.put("v1", DEPLOYMENTS.path, wanted.name, body=request)

    def _version(self, app: str, component: ComponentSource) -> ComponentVersion:
        definition: ComponentDefinition = self._definitions[component.name]
        return ComponentVersion(
            app=app, hash=component.hash, definition=definition, runtime=_RUNTIME
        )


def _component(name: str, remark: str) -> ComponentSource:
    code = _CODE.format(remark=f"{name} of {remark}").encode()
    path = f"components/{name}/main.py"
    files = (SourceFile(path=path, mode=FileMode.REGULAR, content=code),)
    return ComponentSource(
        name=name, hash=content_hash(files, _RUNTIME), files=files, runtime=_RUNTIME
    )
