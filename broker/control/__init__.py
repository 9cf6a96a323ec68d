"""The rules of the control plane: who may write what, and when a release becomes active."""
