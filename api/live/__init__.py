"""Live data of streams: one thread reads Kafka, the event loop alone keeps history and tells clients."""
