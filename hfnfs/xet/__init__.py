"""Pure formats of Xet: hashes, chunks, xorbs, shards and reconstruction plans."""
