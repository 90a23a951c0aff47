"""LIT: from raw tick files to live predictions."""
