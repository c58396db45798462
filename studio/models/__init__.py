"""Base models: what a folder holds, where a method can sit in it, and the library of models at hand."""
