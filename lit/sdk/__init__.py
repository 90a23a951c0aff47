"""The SDK: what notebooks and scripts import."""
