"""The control plane: validates and writes the platform's data, and activates releases."""
