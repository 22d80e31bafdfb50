"""Every system call on a file fails once: what is on the disk must survive it."""
