"""The state-store adapter: keeps the data of components, separated by virtual environment."""
