"""The report's pictures: one file an idea, each drawn for a light and for a dark ground."""
