"""What the chapters draw: one file a chapter, named like its notebook; ``shared`` and ``style`` are common to several.

A chapter imports its own file alone, so that a change in another chapter's figures leaves it current.
"""
