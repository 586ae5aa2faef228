"""The COS XML API over HTTP: signing, requests, XML, errors, retries. Knows no file system."""
