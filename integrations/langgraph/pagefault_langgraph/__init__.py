"""pagefault for LangGraph."""
