"""The study of rounds: what makes the second, third … round of the loop better."""
