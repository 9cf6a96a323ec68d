"""Route tables: compiled rules, indexed, and matched by priority."""
