"""The control API: HTTP and JSON over the rules in ``broker.control``."""
