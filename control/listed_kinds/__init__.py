"""The kinds of objects that the control API lists, one module for each subject."""
