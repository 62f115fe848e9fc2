"""Parts of the synthetic product-support dialogues: word lists, frames and how they combine."""
