"""Cases as samples of a training or an evaluation."""
