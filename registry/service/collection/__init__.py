"""Collecting what nothing needs any more, while clients push and pull.

What is collected, and what makes it safe, is told in docs/explanation/architecture.md, "Collecting
while clients push". ``registry.spec.life`` has the states; ``tests.model`` tries out all orders.
"""
