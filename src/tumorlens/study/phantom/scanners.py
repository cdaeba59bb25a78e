"""What a scanner adds to a picture: blur, noise and uneven sensitivity."""

import numpy as np

from tumorlens.study.phantom.fields import PICTURE, Image, blurred, resized, smooth_noise


def scanned_mri(image: Image, rng: np.random.Generator) -> Image:
    """Add coil bias, blur and Rician noise, as a magnitude image has."""
    side = image.shape[0]
    bias = np.exp(rng.uniform(0.02, 0.12) * resized(smooth_noise(rng, sigma=6.0, side=32), side))
    image = blurred(image * bias, rng.uniform(0.35, 0.75) * side / PICTURE)
    sigma = rng.uniform(0.008, 0.03)
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    other = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, other) * rng.uniform(0.85, 1.05), np.float32)


def scanned_ct(image: Image, rng: np.random.Generator) -> Image:
    """Add the blur and the grainy noise of a brain window; what is outside it saturates."""
    side = image.shape[0]
    image = blurred(image, rng.uniform(0.5, 0.8) * side / PICTURE)
    grain = smooth_noise(rng, sigma=0.7, side=side) * rng.uniform(0.012, 0.03)
    # Air lies below the window and stays black.
    return np.asarray(image + grain * (image > 0.05) + rng.uniform(-0.02, 0.02), np.float32)
