"""Sources of reviews, splits, tokenizer, token cache, batches: everything between raw text and a model's input."""
