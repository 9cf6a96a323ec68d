"""KubeFox for Python: the public names of the kit."""
