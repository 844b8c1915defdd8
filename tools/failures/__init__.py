"""How a job failed: a table of classes, what recognises one in the end of a log, and which repairs are left for it.

table.py      the classes: what shows each, who can mend it, and its ladder of bounded repairs
recognise.py  from the end of a log, the exit code and the backend's reason to one class, or none
ladder.py     which rungs a run has left
"""
