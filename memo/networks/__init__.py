"""What is compiled for one network: layers, losses, optimisers, disturbances, the program of a training."""
