"""Lists of the control API: sorted indexes, pages at one revision, and continue tokens."""
