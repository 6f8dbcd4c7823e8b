"""The management API, ``/api/v1``: projects, members, accounts, and what repositories hold.

``table.ROUTES`` is all of it: what can be asked for, what it takes and gives, and what its caller
must be allowed. The room answers by it, the OpenAPI document is made of it, and tests walk it.
"""
