"""A LangGraph planner and LlamaIndex workers on one memory and one scheduler."""
