"""Who is quoted, and what is known of their numbers."""

PAPER = "Choromanska et al. 2015"
TALK = "the talk, of Choromanska et al. 2015"
KRUEGER = "Krueger et al. 2017"
ENTEZARI = "Entezari et al. 2022"
OURS = "this suite"

# Pearson correlation of training and test loss over the paper's 1,000 networks, by width. By a third party's notes.
CORRELATIONS = {25: 0.7616, 50: 0.6861, 100: 0.5983, 250: 0.5302, 500: 0.4081}
NOTED = "the paper's number is known to us from a third party's notes"
REMEMBERED = "that eigenvalues below 0.001 count as 0 is a third party's memory of the paper"
STRUCTURE = "'If your data set is structured, you should be able to find that more easily.'"
EQUAL = "Local minima 'are of equal quality'."
