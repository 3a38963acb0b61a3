"""What a variational autoencoder is for: a prior that can be sampled, and codes that can be interpolated."""

import math

import torch

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row
from analyses.claims.experiments.autoencoders import LATENT, Coder, features, make_coder, pixels_of, trained_judge
from analyses.claims.experiments.digit_classifiers import halves
from interp.stats import frechet_distance
from toy_models.training.seeds import generator_for

SAMPLES = 2000
WORSE = math.log(1.25)
"""A quarter more distance."""


def distances(seed: int, device: str, budget: float, *, kind: Coder, beta: float = 1.0) -> Row:
    """Fréchet distance to held-out digits, of a judge's features: of decoded samples, and of decoded midpoints.

    Samples are drawn from the prior, N(0, 1), and from a normal with the mean and covariance of the training codes;
    midpoints lie between the codes of two held-out digits. "real" is the distance of the training half, the floor.
    """
    judge, coder = trained_judge(seed, device, budget), make_coder(kind, seed, device, budget, beta)
    training, real = pixels_of(seed, "training"), pixels_of(seed, "held-out")
    codes, generator = coder.codes(training), generator_for(seed, "samples")
    noise = torch.randn(SAMPLES, LATENT, generator=generator)
    spread = torch.linalg.cholesky(torch.cov(codes.T) + 1e-6 * torch.eye(LATENT))
    one, other = (coder.codes(real[torch.randint(len(real), (SAMPLES,), generator=generator)]) for _ in range(2))
    made = {
        "prior": coder.images(noise),
        "fitted": coder.images(codes.mean(0) + noise @ spread.T),
        "midpoints": coder.images((one + other) / 2),
        "rebuilt": coder.images(coder.codes(real)),
        "real": training,
    }
    wanted = features(judge, real)
    row: Row = {name: frechet_distance(features(judge, images), wanted) for name, images in made.items()}
    row["pixel error"] = float((made["rebuilt"] - real).square().mean())
    row["judge"] = halves(seed).measure(judge)["accuracy"]
    return row


ARMS = {
    "VAE": Arm(distances, {"kind": "vae"}),
    "VAE with beta 1/4": Arm(distances, {"kind": "vae", "beta": 0.25}),
    "autoencoder": Arm(distances, {"kind": "autoencoder"}),
    "PCA": Arm(distances, {"kind": "pca"}),
}


def further(vae: str, other: str, what: str, value: str, control_value: str = "") -> Comparison:
    """What another coder makes lies further from the digits than what a variational autoencoder makes."""
    return Comparison(
        f"{vae} against {what}",
        "Fréchet distance to held-out digits, over the VAE's",
        value,
        other,
        vae,
        "greater",
        WORSE,
        control_value=control_value,
        scale="log ratio",
    )


CLAIMS = (
    Claim(
        name="vae-prior-gives-samples",
        numbers=(95,),
        statement="Decoded samples of a VAE's prior look like data; those of a plain autoencoder's codes do not.",
        source="Kingma & Welling 2014, Auto-Encoding Variational Bayes (arXiv:1312.6114)",
        arms=ARMS,
        comparisons=tuple(
            further(vae, *rest)
            for vae in ("VAE", "VAE with beta 1/4")
            for rest in (
                ("autoencoder", "a plain autoencoder", "prior"),
                ("autoencoder", "a plain one whose codes a normal is fitted to", "fitted", "prior"),
                ("PCA", "PCA whose codes a normal is fitted to", "fitted", "prior"),
            )
        ),
        why="The same net without noise and KL, with as many codes. These have another size than the prior, hence a "
        "normal with their own mean and covariance as well; and PCA with as many components, the linear way. With "
        "beta 1 images of 64 pixels leave a VAE some 3 nats; beta 1/4 weighs pixels as in images of 256.",
        slip="With a normal fitted to its codes the plain autoencoder's samples are nearer to the data than the VAE's: "
        "what a VAE gives is a prior that needs no fitting. None comes near the distance of real digits (0.4). "
        "Beta 1/4 was added after a first run.",
        picture=Picture("prior", "Fréchet distance to held-out digits, samples of N(0, 1)", log_y=True),
    ),
    Claim(
        name="vae-codes-can-be-interpolated",
        numbers=(95,),
        statement="Between the codes of two images, a VAE decodes images that look like data.",
        source="Kingma & Welling 2014, Auto-Encoding Variational Bayes (arXiv:1312.6114), appendix A",
        arms=ARMS,
        comparisons=tuple(
            further(vae, other, other, "midpoints")
            for vae in ("VAE", "VAE with beta 1/4")
            for other in ("autoencoder", "PCA")
        ),
        why="Midpoints of the same pairs by the same net without noise and KL, and by PCA, where they are averages of "
        "two images.",
        picture=Picture("midpoints", "Fréchet distance to held-out digits, midpoints", log_y=True),
    ),
)
