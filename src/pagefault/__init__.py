"""pagefault: virtual memory for LLM agents."""
