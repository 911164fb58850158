"""Human evaluation: people judge what runs draw, on a page that is served on this machine."""
