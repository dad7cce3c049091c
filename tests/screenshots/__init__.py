"""`make screenshots`: a demo, filled by its commands and pages, and pictures of what a person sees."""
