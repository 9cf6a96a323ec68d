"""Tests of the kit, the sources, the command line and the composition root."""
