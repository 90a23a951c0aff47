"""Ticks as blocks in Kafka: model, codec, topics, broker, adapters, replay, store."""
