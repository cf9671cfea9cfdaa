"""Images, labels and what is done to them: data sets, treatments, randomness."""
