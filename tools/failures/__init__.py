"""How a job failed: a table of classes, what recognises one in the end of a log, and which repairs are left for it.

kinds.py      what a class is: what shows it, who can mend it, its ladder of bounded repairs
table.py      all of them, in the order in which they are looked for; each in its room:
              machine.py, passing.py, inputs.py, surroundings.py
recognise.py  from the end of a log, the exit code and the backend's reason to one class, or none
ladder.py     which rungs a run has left
"""
