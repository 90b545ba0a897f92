"""Readers and writers of maps: from files, HDUs, cubes and arrays to the parts of a `GasMap`."""
