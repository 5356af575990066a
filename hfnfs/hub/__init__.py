"""The Hugging Face Hub and Xet's content-addressed storage; implements Remote."""
