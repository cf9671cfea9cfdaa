"""How the training of a network has ended: the words of the column `status`."""

COMPLETED = "completed"  # took all the steps of its recipe
MEMORISED = "memorised"  # reached `stop_at_train_accuracy`
DIVERGED = "diverged"  # a loss that is not finite
