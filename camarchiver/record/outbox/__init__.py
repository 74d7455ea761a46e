"""The recorder's finished and unfinished clips on disk: spool, outbox and expiry."""
