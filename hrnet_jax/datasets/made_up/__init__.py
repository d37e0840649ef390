"""How made-up people are drawn: bones and poses, clothes, pictures, scenes, and what annotators say of them."""
