"""Trades and bars: the plugin for market data."""
