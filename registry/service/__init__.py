"""The registry's rules: what happens, in which order, under which coordination."""
