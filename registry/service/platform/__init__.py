"""A platform's projects: what it told of them, and what becomes of that here.

What a platform (Hopsworks) tells is written down first, one key per fact and the newest fact wins;
then the project is made as the facts are. So it makes no difference in which order, how often, or
how late it tells, and what broke off is done by whatever comes next.
"""
