"""Example apps, and the demo that shows them."""
