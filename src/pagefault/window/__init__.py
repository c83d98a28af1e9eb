"""What is in the window: budgets, which pages leave, what stands in their place. Pure: values in, a decision out."""
