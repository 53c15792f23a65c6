"""KTO on real ratings of chat messages, against readers that know nothing."""
