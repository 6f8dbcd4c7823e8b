"""The marker of a bucket: which layout it has, written at the first start."""

from storage._layout import MARKER, check_marker, marker
from storage._s3_bucket import Bucket, ConditionFailed
from storage.ports import NotFound


async def claim(bucket: Bucket) -> None:
    """Look at the marker, or write it where there is none. ``StoreRefused`` for another layout.

    Called before anything else that stays is written. One request; one or two more at the first
    start. A bucket from before there were markers has the first layout.
    """
    try:
        found = await bucket.get(MARKER)
    except NotFound:
        try:
            await bucket.put(MARKER, [marker()], absent=True)
        except ConditionFailed:  # another replica was first
            found = await bucket.get(MARKER)
        else:
            return
    check_marker(f"bucket {bucket.name}", found.data)
