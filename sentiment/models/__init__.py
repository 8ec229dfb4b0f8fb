"""The networks: plain `nn.Module`s with one call signature, `(tokens, mask or lengths) -> logits`."""
