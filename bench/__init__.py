"""What a transfer costs: this gateway, two others and a bare relay, on the same work and store.

`python -m bench` runs it; docs/performance.md says what is measured, and how.
"""
