"""The kit: what a component is written with."""
