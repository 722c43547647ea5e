"""The same benchmark in several fresh processes, one after the other."""
