"""What a network is called with: an image by its size, described tensors, a file of values, or the user's examples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_cli.commands.options import parsing
from resnet_cli.errors import ResnetCliError
from resnet_cli.measure.models.inputs.specs import parse_arguments
from resnet_cli.results.common import Shape

if TYPE_CHECKING:
    from resnet_cli.measure.models.inputs.model_inputs import ModelInputs
    from resnet_cli.measure.models.model import ModelUnderTest

_CHANNELS, _SIZE = 3, "224"


@dataclass(frozen=True, slots=True)
class InputSelection:
    """The inputs that the options name; no file is read yet.

    Args:
        image: (C, H, W) of the image that is the input where nothing else is.
        batch_sizes: of --batch-size; None: not given.
        described: positional and keyword arguments of --input; None: not given.
        file: of --input-file.
        is_default: no option says what the input is, so that the user's example_inputs() may.
    """

    image: Shape
    batch_sizes: tuple[int, ...] | None = None
    described: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    file: str | None = None
    is_default: bool = True

    def load(self, model: "ModelUnderTest | None" = None) -> "ModelInputs":
        """The inputs, at the first batch size.

        Args:
            model: whose example_inputs() may be called.

        Raises:
            ResnetCliError: a file cannot be read, example_inputs() fails, or another batch size is not possible.
        """
        from resnet_cli.measure.models.inputs.model_inputs import ModelInputs

        if self.described is not None:
            inputs = ModelInputs(*self.described)
        elif self.file is not None:
            from resnet_cli.measure.models.inputs.files import read_inputs

            inputs = read_inputs(self.file)
        elif self.is_default and model is not None and model.example_inputs is not None:
            inputs = model.example_inputs()
        else:
            return self.image_input()
        return self._at_batch(inputs)

    def image_input(self) -> "ModelInputs":
        """The image of the default kind, at the first batch size."""
        from resnet_cli.measure.models.inputs.model_inputs import images

        return images(((self.batch_sizes or (1,))[0], *self.image))

    def for_model(self, model: "ModelUnderTest") -> "tuple[ModelInputs, tuple[int, ...]]":
        """The inputs for a network, and the batch sizes to measure them at."""
        inputs = self.load(model)
        return inputs, self.batch_sizes or (inputs.batch_size or 1,)

    def _at_batch(self, inputs: "ModelInputs") -> "ModelInputs":
        own = inputs.batch_size
        if self.batch_sizes in (None, (own,)):
            return inputs
        assert self.batch_sizes is not None
        given = ",".join(map(str, self.batch_sizes))
        if own is None:
            raise ResnetCliError(
                f"--batch-size {given}: these inputs have no batch axis, which is the first one of every tensor",
                "leave --batch-size out",
            )
        if own != 1:
            raise ResnetCliError(
                f"--batch-size {given}: the inputs are a batch of {own} already",
                "leave --batch-size out, or give the inputs for a batch of 1",
            )
        return inputs.at_batch(self.batch_sizes[0])


def choose_inputs(
    inputs: list[str] | None,
    input_file: str | None,
    *,
    batch_size: int | str | None = None,
    image_size: str | None = None,
    in_channels: int | None = None,
    is_built_in: bool = False,
) -> InputSelection:
    """The inputs that the options name.

    Args:
        inputs: of --input.
        input_file: of --input-file.
        batch_size: of --batch-size: one, or several separated by commas; None: not given.
        image_size: of --image-size; None: not given.
        in_channels: of --in-channels; None: not given.
        is_built_in: the network is a built-in one, whose channels --in-channels names.

    Raises:
        ResnetCliError: an option is not valid, or some contradict each other.
    """
    channels, size = in_channels or _CHANNELS, image_size or _SIZE
    batch_sizes = None if batch_size is None else parsing.batch_sizes(str(batch_size), channels, size)
    image = parsing.input_shape(1, channels, size)[1:]
    if not inputs and input_file is None:
        return InputSelection(image, batch_sizes, is_default=image_size is None and in_channels is None)
    others = {
        "--input-file": None if not inputs else input_file,
        "--image-size": image_size,
        "--in-channels": None if is_built_in else in_channels,
    }
    named = [option for option, value in others.items() if value is not None]
    if named:
        option = "--input" if inputs else "--input-file"
        raise ResnetCliError(
            f"{option} cannot be combined with {' and '.join(named)}", f"leave out {option}, or {' and '.join(named)}"
        )
    described = parse_arguments(inputs) if inputs else None
    return InputSelection(image, batch_sizes, described, input_file, is_default=False)
