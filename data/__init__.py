"""Data that travels with the library: the registry of data sets and, later, trained weights."""
