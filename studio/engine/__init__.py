"""The torch side: build a model, place methods, train, evaluate, save."""
