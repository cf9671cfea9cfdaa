"""Claims, figures and pages from answers, and results read from pages."""
