"""A store that keeps nothing: it answers as COS and as S3 do, as cheaply as can be."""
