"""Bodies that travel in chunks, under credit, and the memory that whole bodies may take."""
