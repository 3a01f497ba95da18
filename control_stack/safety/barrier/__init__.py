"""A filter that changes a command only as far as a fence, obstacles and limits ask for it. See docs/safety.md."""
