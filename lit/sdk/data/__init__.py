"""Data as the SDK gives it: adapters and assets."""
