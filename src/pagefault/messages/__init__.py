"""What messages say, in the words of no framework: one textual form, and one reading. Pure."""
