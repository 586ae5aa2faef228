"""A bucket seen as a file system. Knows COS, and nothing of FTP."""
