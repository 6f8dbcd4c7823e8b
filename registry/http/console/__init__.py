"""The console: pages for people who would rather look, below ``/console/``.

It reads only. Each page is made of what routes of the management API give the same caller, so
there is no second decision and no second query: ``visit.Visit`` asks them. ``table.PAGES`` lists
the pages; the room answers by it, and tests walk it.
"""
