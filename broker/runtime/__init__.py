"""Common needs of every process: settings, logs, ids, and care for the event loop."""
