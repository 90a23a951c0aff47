"""Deployments: predictions, scores, insights."""
