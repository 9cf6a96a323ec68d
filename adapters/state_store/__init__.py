"""The state store: a component's own data, kept apart by virtual environment."""
