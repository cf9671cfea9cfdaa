"""Images and labels: data sets, treatments, randomness."""
