"""Paths on a model's tokens: terms of the loss, of the right token's logit, and of a head's attention score."""
