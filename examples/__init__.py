"""Example apps, and the story that shows them."""
