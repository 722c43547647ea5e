"""Replicas of a network in several processes, timed together."""
