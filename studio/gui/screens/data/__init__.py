"""The Data screen: datasets at hand, their rows, and how rows become what a model is trained on."""
