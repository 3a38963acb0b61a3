"""The claims: every module here declares `CLAIMS`, a tuple of `analyses.claims.Claim`, and how arms are trained."""
