"""Messages of the API in the spelling of the command line."""

import re

__all__ = ["as_command"]

_VELOCITY_UNIT = re.compile(r"\bunit=\{'(?:velocity|dispersion)': ('[^']*')\}")
_KEYWORD = re.compile(r"(?<![-\w])([a-z]\w*)=(?=['\d\s,.;:)]|$)(?=(.?))")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) \* u\.(\w+)")
_TRUE = re.compile(r"(?<![-\w])([a-z]\w*)=True\b")
_TEXT_QUANTITY = re.compile(r"u\.Quantity\(('[^']*')\)")
_METHOD = re.compile(r" \((?:see )?GasMap\.\w+\)")
_NAME = re.compile(r"(?<![-\w'])[a-z]+(?:_[a-z]+)+\b(?![('=])")
_FIRST = re.compile(r"([a-z]+)(?= must\b|: )")


def as_command(message, usage):
    """
    Return a message with options in place of the parameters that they set.

    Parameters
    ----------
    message : str
        What the API says: ``give unit=, e.g. 'cm-2'``.
    usage : str
        Names every option of the subcommand.

    Returns
    -------
    message : str
        ``give --unit, e.g. 'cm-2'``.  Parameters that the subcommand has no option for stay.
    """
    known = set(re.findall(r"--([a-z][a-z0-9-]*)", usage))

    def option(name):
        spelled = name.replace("_", "-")
        return f"--{spelled}" if spelled in known else None

    def keyword(match):
        found = option(match[1])
        if found is None:
            return match[0]
        return found + ("" if match[2] in ("", " ", ",", ".", ";", ":", ")") else " ")

    if "velocity-unit" in known:
        message = _VELOCITY_UNIT.sub(r"--velocity-unit \1", message)
    message = _METHOD.sub("", message)
    message = _TEXT_QUANTITY.sub(r"\1", message)
    message = _TRUE.sub(lambda match: option(match[1]) or match[0], message)
    message = _KEYWORD.sub(keyword, message)
    message = re.sub(r"\b[a-z_]+= or (?=--)", "", message)  # the other one will do
    message = _QUANTITY.sub(r"'\1 \2'", message)
    message = _NAME.sub(lambda match: option(match[0]) or match[0], message)
    first = _FIRST.match(message)
    if first and option(first[0]):
        message = option(first[0]) + message[first.end() :]
    return message
