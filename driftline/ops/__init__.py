"""Operations of one process: its meters, its health, and how both reach whoever runs it.

Knows no consumer and no job; the command line connects them. Nothing here may fail or delay the
work that it watches.
"""
