"""Files that are read anew when they change."""

import os

from auth.files import Changes


def test_a_change_is_noticed_once(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    changes = Changes([one, other])
    assert not changes.any()
    one.write_text("longer")
    assert changes.any()
    assert not changes.any()
    other.write_text("it comes")
    assert changes.any()
    other.unlink()
    assert changes.any()
    assert not changes.any()


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path):
    """Kubernetes changes a mounted Secret so: other files of the same sizes, behind one link."""
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text("as long")
        os.utime(tmp_path / name / "key", (1, 1))
    link = tmp_path / "data"
    link.symlink_to("before")
    changes = Changes([link / "key"])
    assert not changes.any()
    link.unlink()
    link.symlink_to("after")
    assert changes.any()
