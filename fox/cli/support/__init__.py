"""Modules that the commands share; commands never import each other."""
