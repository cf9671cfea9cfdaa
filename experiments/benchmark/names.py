"""The names of parts, contestants and units, as they stand in the journal and in the tables."""

COMPARISON, GROWTH, PUBLISHED = "comparison", "growth", "published"

OURS = "ours"
LOOP, LOADER = "PyTorch loop, tensors in memory", "PyTorch loop, DataLoader"
VMAP_OWN, VMAP_SHARED = "torch.func.vmap, own minibatches", "torch.func.vmap, shared minibatch"
JAX_ONE = "JAX, one jitted network at a time"
GRAPH = "PyTorch loop, CUDA graph"
COMPILED_OWN = "torch.func.vmap + torch.compile, own minibatches"
COMPILED_SHARED = "torch.func.vmap + torch.compile, shared minibatch"
COMPILED_GRAPH = "torch.func.vmap + torch.compile + CUDA graph, own minibatches"
LOOPS, VMAP = (LOOP, LOADER, GRAPH), (VMAP_OWN, VMAP_SHARED)
COMPILED = (COMPILED_OWN, COMPILED_SHARED, COMPILED_GRAPH)
CUDA_ONLY = (GRAPH, *COMPILED)
# Peers that a ratio is told of, the fastest of each.
PEERS = {"PyTorch loop": (LOOP,), "torch.func.vmap": VMAP, "torch.func.vmap + torch.compile": COMPILED}
TRAINING = (OURS, LOOP, LOADER, *VMAP, JAX_ONE, GRAPH, *COMPILED)
XLA_SGEMM, TORCH_SGEMM, XLA_COPY, TORCH_COPY = "XLA sgemm", "torch sgemm", "XLA copy", "torch copy"

EXAMPLES, FLOP, BYTES, JOBS = "examples", "flop", "bytes", "jobs"  # units of what a reading did

# The launchers of the sweep of jobs.
POPULATION_COLD, POPULATION, BASIC = "population, programs not compiled yet", "population", "basic"
BASIC_FEWER = "basic, fewer jobs"

NO_TORCH, NO_GPU = "PyTorch is not installed", "needs an NVIDIA GPU"
