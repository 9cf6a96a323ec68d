"""Reference pages made from the code: a page holds a marker, the build puts the text there."""
