"""Encoders as folders of timm and the Hugging Face Hub: find one and read it."""

import json
from pathlib import Path

from astrofractal._utils.reading import reading, reason_of
from astrofractal.encoder.weights import check_card, sha256

__all__ = ["CONFIG", "HEADS_FILE", "WEIGHTS_FILE", "find_pretrained", "read_folder"]

CONFIG, WEIGHTS_FILE, HEADS_FILE = "config.json", "model.safetensors", "heads.safetensors"


def find_pretrained(source):
    """Return the local file or folder of weights, from the cache of the hub or the hub if need be."""
    path = Path(source)
    if path.exists():
        return path
    name = str(source)
    if isinstance(source, Path) or name.count("/") != 1 or path.suffix == ".safetensors":
        msg = f"source: no file or folder {name!r}, and it is not the owner/name of a model on the hub"
        raise FileNotFoundError(msg)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = [CONFIG, WEIGHTS_FILE, HEADS_FILE]
    try:
        folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        if (folder / CONFIG).is_file() and (folder / WEIGHTS_FILE).is_file():
            return folder
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's, the network's and those of names that it does not allow
        msg = (
            f"source: there is no folder {name!r}, no model of that name in the cache of the Hugging "
            f"Face Hub, and the hub did not return one ({reason_of(error)}): check the name and the "
            "network, or give the path of a folder or a .safetensors file"
        )
        raise FileNotFoundError(msg) from error


def read_folder(folder):
    """Return the state, the card and the id of the weights in a folder of `export_timm`."""
    from safetensors.torch import load_file

    path = Path(folder) / CONFIG
    if not path.is_file():
        msg = f"weights: no {CONFIG} in the folder {str(folder)!r}: it must be one of export_timm"
        raise FileNotFoundError(msg)
    with reading(path):
        config = json.loads(path.read_text(encoding="utf-8"))
        own = config.get("astrofractal") if isinstance(config, dict) else None
        if not isinstance(own, dict) or not isinstance(own.get("card"), dict):
            msg = (
                f"{str(path)!r} has no card of astrofractal: load models of others by "
                "FractalEncoder('timm:NAME', weights=FILE, normalization=...)"
            )
            raise ValueError(msg)
        checksums = dict(own.get("sha256", {}))
    card = check_card(own["card"], path)
    state = {}
    for name in {WEIGHTS_FILE, *checksums} & {WEIGHTS_FILE, HEADS_FILE}:
        file = Path(folder) / name
        with reading(file):
            if name in checksums and sha256(file) != checksums[name]:
                msg = f"weights: {str(file)!r} is damaged or not the file of {CONFIG}"
                raise ValueError(msg)
            state |= load_file(file)
    return state, card, str(own.get("weights_id"))
