"""The compiled code of one network: layers, losses, optimisers, disturbances, the program of a training."""
