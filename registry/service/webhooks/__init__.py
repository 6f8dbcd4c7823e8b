"""Webhooks: what happens is told to addresses that people chose.

``subscriptions`` keeps who wants to be told what, ``cloudevents`` says it in CloudEvents' words,
``signature`` proves that it is ours; ``outbox`` writes it into the ``queue`` in the store together
with the audit log, and ``deliverer`` sends what is due.
"""
