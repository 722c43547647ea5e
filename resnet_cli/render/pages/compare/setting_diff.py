"""The settings of two operators as texts that show first what differs."""

from __future__ import annotations

from resnet_cli.results.compare import AlignedOp

_BOOLEANS = ("True", "False", "None", "true", "false")


def settings_of(op: AlignedOp) -> tuple[str, str]:
    """Operator and settings of the model and of the reference.

    Where only settings differ, they stand first, so that no narrow column cuts them off, and the reference's text has
    no others.
    """
    model_text, reference_text = op.model_settings, op.reference_settings
    if op.model_op != op.reference_op or model_text == reference_text:
        return f"{op.model_op or ''} {model_text}".strip(), f"{op.reference_op or ''} {reference_text}".strip()
    model, reference = _split(model_text), _split(reference_text)
    only_model = [setting for setting in model if setting not in reference]
    only_reference = [setting for setting in reference if setting not in model]
    shared = " ".join((op.model_op or "", *(setting for setting in model if setting in reference))).strip()
    first = only_model or list(map(_left_out, only_reference))
    second = only_reference or list(map(_left_out, only_model))
    return ", ".join((*first, shared)), ", ".join(second) or reference_text


def _left_out(setting: str) -> str:
    """A setting that the other operator alone has; a text of settings leaves out the defaults."""
    name, _, value = setting.partition(" ")
    return f"default {name}" if value else f"without {setting}"


def _split(text: str) -> list[str]:
    """The settings in a text, a name with its value: "64→64 3×3 stride 2" is three."""
    settings: list[str] = []
    has_name = False  # the last setting is a name that waits for its value
    for word in text.split():
        is_value = not word[0].isalpha() or word in _BOOLEANS
        is_mode = bool(settings) and settings[-1].endswith("_mode") and word.islower()
        if has_name and (is_value or is_mode):
            settings[-1] += f" {word}"
            has_name = False
        else:
            settings.append(word)
            has_name = not is_value
    return settings
