"""Which version of Moorage this is."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("moorage")
except PackageNotFoundError:  # run from a source tree that was not installed
    __version__ = "0+source"
