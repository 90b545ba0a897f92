#!/usr/bin/env python3
"""Write the files that repeat setup.cfg.

These are codemeta.json, .zenodo.json, and parts of CITATION.cff, tox.ini and the conda recipe.

python tools/make_metadata.py            # write them
python tools/make_metadata.py --check    # exit with 1 and name those that would change
"""

import configparser
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TITLE = "astrofractal: stellar masses and structure in dense gas from fractal pretraining"
PAPER = "Self-supervised Synthetic Pretraining for Inference of Stellar Mass Embedded in Dense Gas"
CONDA = {
    "astropy": "astropy-base",
    "huggingface-hub": "huggingface_hub",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
}
#: Extras whose oldest versions are not tested: sphinx, and packages that need newer dependencies.
UNTESTED = {"benchmark", "docs", "hats"}
#: Oldest versions that follow from others: the torchvision of a torch.
MATCHING = {"torchvision": "0.19.0"}


def setup_cfg():
    """Return setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def bounds(text):
    """Return the lower bound of each requirement, by name."""
    return dict(re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)$", text, re.M))


def lines(text):
    """Return the lines of a value of setup.cfg."""
    return [line for line in text.split("\n") if line]


def codemeta(meta, options):
    """Return the text of codemeta.json."""
    urls = dict(line.split(" = ") for line in lines(meta["project_urls"]))
    content = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": meta["name"],
        "description": meta["description"],
        "license": f"https://spdx.org/licenses/{meta['license_expression']}",
        "codeRepository": meta["url"],
        "issueTracker": urls["Issues"],
        "buildInstructions": f"{urls['Documentation']}/en/latest/install.html",
        "softwareHelp": {"@type": "WebPage", "url": urls["Documentation"]},
        "programmingLanguage": {
            "@type": "ComputerLanguage",
            "name": "Python",
            "version": options["python_requires"],
        },
        "operatingSystem": "Linux, macOS, Windows",
        "applicationCategory": "Astronomy",
        "developmentStatus": "active",
        "keywords": lines(meta["keywords"]),
        "author": [{"@type": "Organization", "name": meta["author"]}],
        "referencePublication": {
            "@type": "ScholarlyArticle",
            "name": PAPER,
            "identifier": "arXiv:2510.24159",
        },
    }
    return json.dumps(content, indent=4) + "\n"


def zenodo(meta):
    """Return the text of .zenodo.json."""
    content = {
        "title": TITLE,
        "upload_type": "software",
        "license": meta["license_expression"],
        "creators": [{"name": meta["author"]}],
        "keywords": lines(meta["keywords"]),
        "related_identifiers": [
            {
                "identifier": "arXiv:2510.24159",
                "relation": "isDerivedFrom",
                "resource_type": "publication-preprint",
            }
        ],
    }
    return json.dumps(content, indent=4) + "\n"


def citation(meta, text):
    """Return CITATION.cff with the title, author, address and keywords of setup.cfg."""
    text = re.sub(r'^title: ".*"$', f'title: "{TITLE}"', text, count=1, flags=re.M)
    text = re.sub(r"^license: .*$", f"license: {meta['license_expression']}", text, flags=re.M)
    text = re.sub(r"^repository-code: .*$", f"repository-code: {meta['url']}", text, flags=re.M)
    text = re.sub(
        r"^authors:\n(?:  .*\n)+", f"authors:\n  - name: {meta['author']}\n", text, flags=re.M
    )
    keywords = "".join(f"  - {word}\n" for word in lines(meta["keywords"]))
    return re.sub(r"^keywords:\n(?:  - .*\n)+", f"keywords:\n{keywords}", text, flags=re.M)


def tox(options, extras, text):
    """Return tox.ini with the oldest version of each dependency."""
    found = bounds(options["install_requires"])
    for name in extras:
        if name not in UNTESTED:
            found |= bounds(extras[name])
    found |= MATCHING
    pins = {
        name: version if version.count(".") > 1 or name == "regions" else f"{version}.0"
        for name, version in found.items()
    }
    rows = "".join(f"    oldestdeps: {name}=={pins[name]}\n" for name in sorted(pins))
    return re.sub(r"(?:    oldestdeps: .*==.*\n)+", rows, text)


def conda(meta, options, text):
    """Return the conda recipe with the requirements and the description of setup.cfg."""
    needed = bounds(options["install_requires"])
    rows = "".join(f"    - {CONDA.get(name, name)} >={needed[name]}\n" for name in needed)
    text = re.sub(
        r"(    - python >=\$\{\{ python_min \}\}\n)(?:    - .*\n)+", rf"\g<1>{rows}", text
    )
    return re.sub(r"^  summary: .*$", f"  summary: {meta['description']}", text, flags=re.M)


def generated():
    """Return the text of each file, by path."""
    setup = setup_cfg()
    meta, options, extras = (
        setup[name] for name in ("metadata", "options", "options.extras_require")
    )

    def old(name):
        return (ROOT / name).read_text(encoding="utf-8")

    recipe = "tools/conda-forge/recipe.yaml"
    return {
        "codemeta.json": codemeta(meta, options),
        ".zenodo.json": zenodo(meta),
        "CITATION.cff": citation(meta, old("CITATION.cff")),
        "tox.ini": tox(options, extras, old("tox.ini")),
        recipe: conda(meta, options, old(recipe)),
    }


def main():
    """Write or check the files."""
    changed = [
        name
        for name, text in generated().items()
        if (ROOT / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv[1:]:
        print("\n".join(changed))
        sys.exit(bool(changed))
    for name, text in generated().items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
