"""Hello: returns a greeting."""

from fox import Context, Kit

kit = Kit(title="Hello")
greeting = kit.env("greeting", default="Hello")


@kit.route("PathPrefix(`/{{.Vars.subPath}}/$app`)")
async def hello(ctx: Context) -> str:
    """Return the greeting of the virtual environment."""
    return f"{ctx.env['greeting']}!\n"
