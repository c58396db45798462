"""The Models screen: base models at hand, what is in them, and how to get more."""
