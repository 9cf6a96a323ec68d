"""A small app to deploy; each test gives it another name."""

from __future__ import annotations

from pathlib import Path

from tests.support.repository import MAIN, Repository

WEB = """from fox import Context, Kit

kit = Kit(title="Web")
api = kit.component("api")
greeting = kit.env("greeting", default="Hello")


@kit.route("Path(`/{{.Vars.subPath}}/APP/{name}`)")
async def hello(ctx: Context) -> str:
    print("greets", ctx.params["name"], flush=True)
    return f"{ctx.env['greeting']} {ctx.params['name']}"
"""
# Its definition can be exported, but its pod ends at once.
DYING = f"import sys\nif 'pod' in sys.argv[0]: sys.exit('no disk')\n{MAIN.format(name='api')}"
# Its pod is never ready.
NEVER_READY = (
    f"import sys, time\nif 'pod' in sys.argv[0]: time.sleep(600)\n{MAIN.format(name='api')}"
)
ENVIRONMENTS = """\
apiVersion: kubefox.xigxog.io/v1alpha1
kind: VirtualEnvironment
metadata: {name: NAME}
spec: {environment: NAME}
data: {vars: {subPath: NAME, greeting: Moin}, secrets: {token: hidden}}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: Environment
metadata: {name: NAME}
spec: {releasePolicy: {type: Testing, activationDeadlineSeconds: 30}}
---
apiVersion: kubefox.xigxog.io/v1alpha1
kind: HTTPAdapter
metadata: {name: NAME}
spec: {url: 'https://example.com', headers: {x-token: '{{.Secrets.token}}'}}
"""


def make(root: Path, name: str) -> Repository:
    """Return a repository whose app and environments are called ``name``; web calls api."""
    made = Repository(root / name)
    made.write(
        {
            "app.yaml": f"name: {name}\ntitle: Shop\n",
            ".gitignore": "__pycache__/\n",
            "components/api/main.py": MAIN.format(name="api"),
            "components/web/main.py": WEB.replace("APP", name),
            "environments.yaml": ENVIRONMENTS.replace("NAME", name),
        }
    )
    made.commit("v1")
    return made
