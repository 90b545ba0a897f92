"""The identity of an encoder in the files of fitted tools, and the encoder of such a file."""

from astrofractal._utils.annotations import PathLike
from astrofractal.encoder.encoder import FractalEncoder

__all__ = ["describe_encoder", "find_encoder"]


def describe_encoder(encoder: FractalEncoder) -> dict[str, str]:
    """Return what identifies an encoder, without its weights."""
    return {
        "model": encoder.model_name,
        "weights_id": encoder.weights_id,
        "fingerprint": encoder.fingerprint(),
    }


def find_encoder(
    identity: dict[str, str],
    path: PathLike,
    encoder: FractalEncoder | None = None,
    *,
    made: str,
    remedy: str,
) -> FractalEncoder:
    """Return the encoder that a file was made with, or raise an error that names the file."""
    # ``made`` and ``remedy`` are for messages: "calibrated" and "calibrate again".
    model, weights = identity["model"], identity["weights_id"]
    wanted = f"{str(path)!r} was {made} with the weights {weights!r} of {model!r}"
    if encoder is None:
        kind, _, seed = weights.partition("-")
        is_random = kind == "random" and seed.isdigit()
        source, random_state = ("random", int(seed)) if is_random else ("bundled", 0)
        try:
            encoder = FractalEncoder(model, weights=source, random_state=random_state)
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            msg = f"{wanted}, which are not bundled: give encoder="
            raise ValueError(msg) from error
    known = [encoder.fingerprint()]
    if getattr(encoder, "precision", "float32") != "float32":
        known.append(encoder.fingerprint(precision="float32"))
    if identity["fingerprint"] not in known:
        msg = f"{wanted}, the encoder is {encoder!r}: give that encoder, or {remedy}"
        raise ValueError(msg)
    return encoder
