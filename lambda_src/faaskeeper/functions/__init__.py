"""Lambda handlers: each turns its event into calls of the layers below and their errors into retries."""
