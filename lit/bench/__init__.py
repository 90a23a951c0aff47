"""`lit bench`: what the platform costs, as ratios to references timed in the same run."""
