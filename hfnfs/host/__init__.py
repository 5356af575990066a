"""The machine around us: mount(8), the mount table, what is missing."""
