"""Figures and traces: counted in every process, collected and stored by control."""
