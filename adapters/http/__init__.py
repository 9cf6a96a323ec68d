"""The HTTP adapter: requests become genesis events, and their responses answer them."""
