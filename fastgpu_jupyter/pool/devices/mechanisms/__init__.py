"""Mechanisms that make a logical GPU out of devices."""
