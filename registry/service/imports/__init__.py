"""Importing what another registry has: from its API, or from the directory or bucket it keeps."""
