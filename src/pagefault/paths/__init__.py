"""Conversations in this process: messages grouped into pages, the step of a model call, and what it renders. No I/O."""
