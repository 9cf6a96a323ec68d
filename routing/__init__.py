"""Routing: from a genesis event and a snapshot to a decision. Pure: no I/O, no clock."""
