"""Learn words from reviews without labels, before a network learns classes (``pretrain``)."""
