"""The adapter that delivers the events which components emit for each other."""
