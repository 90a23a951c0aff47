"""Tests; hypothesis never judges by the clock, since machines are shared."""

from hypothesis import HealthCheck, settings

settings.register_profile("lit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lit")
