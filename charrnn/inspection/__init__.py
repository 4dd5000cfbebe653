"""What a language model does with a text, character by character: numbers, and a page that shows them."""
