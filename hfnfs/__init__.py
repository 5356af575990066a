"""Hugging Face Hub repos and buckets as a local file system, served by NFSv3 from user space."""
