"""Pod drivers, and the reconciler that starts and stops only what differs."""
