"""The wire: headers in, one service call, headers out."""
