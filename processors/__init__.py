"""Faust processors: bars, features, sink."""
