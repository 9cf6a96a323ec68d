"""Apps in Git repositories: reading them, hashing their components, exporting definitions."""
