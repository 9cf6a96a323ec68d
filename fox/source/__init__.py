"""From a Git repository to hashed components and their bundles."""
