"""What labels cost: a whole log resolved, beside merely reading its rows."""
