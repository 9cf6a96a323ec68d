"""The rule language, the matcher and the snapshot that every process routes by: pure."""
