"""From answers to claims, figures, pages, and back from pages to what they hold."""
