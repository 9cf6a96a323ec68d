"""Tests of the fox command, against a real platform."""
