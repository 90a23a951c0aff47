"""Plugins: adapters, feature scripts, components."""
