"""The portal: where people sign in. For now its API (api/) for the operator, and the page that refusals point to."""
