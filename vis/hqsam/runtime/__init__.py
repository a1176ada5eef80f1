"""The network rearranged for inference, on a CPU and on CUDA: the modes ``fast`` and ``fastest``.

Every part computes what its module in :mod:`vis.hqsam.network` computes. ``engine`` chooses what runs.
"""
