"""The fox command line."""
