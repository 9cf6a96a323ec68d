"""The Order App story on a platform of its own: ``make demo``."""
