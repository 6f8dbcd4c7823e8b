"""The audit log: who did what, from where, with which result, and proof that none of it is gone.

``events`` says what an event is, ``chain`` how events are written down so that a missing or changed
one shows (pure), ``journal`` how they reach the store, ``log`` how they are read and verified.
"""
