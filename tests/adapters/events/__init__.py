"""Tests of the emit adapter."""
