"""Projects: who owns repositories, who may do what in them, and what becomes of them.

The rules of tenancy as services, whatever the wire. ``Tenancy`` holds them all. Each method that
changes something takes the identity that does it (for the record and the event); whether it may was
decided before, by ``auth.policy``, and most take the ``Tenant`` that such a decision gives.

What is changed is changed inside one ``Coordinator.change`` of the project and the principals that
it concerns, so that the very next decision, on every replica, sees it.
"""
