"""Results on their way to a reader: this wing draws and never measures."""
