"""The gateways that this one is compared with, where they need code."""
