"""REST and WebSocket API, and supervision of processes."""
