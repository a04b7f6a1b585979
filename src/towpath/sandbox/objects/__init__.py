"""S3's objects on disk: what they are in SQLite, small bodies beside it, larger ones as files. Nothing here knows who asks.

service → store, multipart, listing → database, bodies
"""
