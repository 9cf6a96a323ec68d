"""Access to the control API: who a caller is, and what it may do."""
