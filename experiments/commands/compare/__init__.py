"""`compare`: one model of every family, the same time to train, the same ruler, one page."""
