"""What a process measures and remembers of its events, and what control gathers of it."""
