"""Bars, windows, feature scripts and the engine that runs them: pure computation."""
