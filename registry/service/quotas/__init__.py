"""Quotas: what projects may hold, reserved before it is stored, and counted.

The rules of the accounting are in ``registry.spec.quota``; ``tests.model.quotas`` tries out all
orders. ``ledger`` is one process's part in one account, ``charges`` one request's.
"""
