"""The operators that every method of the course shares: patches, proximal operators, dictionaries.

Images are ``(B, C, H, W)`` in ``[0, 1]``, patches ``(B, m, N)``, codes ``(B, K, N)``: ``B`` images,
``C`` channels, ``m`` entries in a patch, ``K`` atoms, ``N`` patches.
"""
