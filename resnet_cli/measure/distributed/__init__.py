"""Replicas of a network in several processes, which torchrun starts and ends, timed together."""
