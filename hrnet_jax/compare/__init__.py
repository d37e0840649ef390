"""The laboratory: our networks beside PyTorch, layer by layer, on a page that shows where they part."""
