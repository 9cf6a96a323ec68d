"""HTTP in: requests become genesis events, responses go back."""
