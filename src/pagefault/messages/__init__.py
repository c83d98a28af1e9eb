"""What messages say, in the words of no framework: one textual form, one reading, and translation. Pure."""
