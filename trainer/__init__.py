"""Models: components, canvas, runs, vault."""
