"""The control API: HTTP and JSON in front of the control plane."""
