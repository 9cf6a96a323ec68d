"""The demo, ``make demo``: the Order App on a platform of its own."""
