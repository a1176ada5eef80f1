"""SAM and HQ-SAM as the papers have them: plain, differentiable modules with the official parameter names.

Training runs these, and the ``exact`` mode; :mod:`vis.hqsam.runtime` is measured by them. ``sizes`` holds the
shapes, ``vit`` and ``tiny_vit`` the image encoders, ``prompt_encoder``, ``transformer`` and ``mask_decoder`` the
rest of the network, ``model`` all of it as one module, ``checkpoints`` and ``huggingface`` the loading.
Knows no frame, no box in pixels and no inference.
"""
