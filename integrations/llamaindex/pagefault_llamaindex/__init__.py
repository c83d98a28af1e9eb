"""pagefault for LlamaIndex."""
