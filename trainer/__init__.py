"""Training: assets as input, components and canvases, runs, the vault. TensorFlow is imported only when used."""
