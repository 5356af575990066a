"""python -m hfnfs is hf-mount-nfs."""

from hfnfs.cli.mount import main

if __name__ == "__main__":
    main()
