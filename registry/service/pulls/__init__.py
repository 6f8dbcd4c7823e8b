"""Who pulled which tag or manifest last, and how often.

``tally`` counts in memory, ``history`` writes that down and reads it, ``compactor`` merges what the
processes wrote into one record for each tag and digest.
"""
