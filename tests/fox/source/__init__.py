"""Tests of fox.source, on real Git repositories."""
