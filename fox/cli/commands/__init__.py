"""The commands of ``fox``: one module for each, which never imports another command."""
