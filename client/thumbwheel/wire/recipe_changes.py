"""Parts of a recipe: the fields that a caller changes, and those that were stored."""

from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from thumbwheel.wire.recipe import RecipeFields
from thumbwheel.wire.recipe_faults import RecipeFault, recipe_faults
from thumbwheel.wire.values import storable_value


def _without_defaults(schema: dict[str, Any]) -> None:
    """Removes the defaults of a whole recipe from a JSON schema: a field that is left out changes nothing."""
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class RecipeChanges(RecipeFields):
    """Fields of a recipe, all of them optional: one that is left out stays as the preset or the project has it.

    Only the fields that were given are written. Read them with `given`: the attribute of any other field has the
    default of a whole recipe, whatever the preset says.
    """

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    def given(self) -> dict[str, Any]:
        """Returns the fields that were given, as JSON has them."""
        document: dict[str, Any] = _given(self)
        return document

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Returns the changes. Raises `ValidationError` with one fault for each wrong field."""
        if isinstance(value, dict):
            storable_value(value)
        try:
            return handler(value)
        except ValidationError as error:
            faults = [_in_words(fault) for fault in recipe_faults(cls, error)]
            raise ValidationError.from_exception_data(cls.__name__, faults) from None

    # Without a return annotation the JSON schema is that of the fields.
    @model_serializer
    def _write(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        """Returns what `given` does."""
        return _given(self)


class StoredRecipe(RecipeChanges):
    """The fields of a recipe as they were stored, all or some of them.

    Another version may have stored fields that this one does not know, or values that it would refuse: they are read
    and written as they are.
    """

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Returns the fields; those that would be refused have the stored value."""
        try:
            return handler(value)
        except ValidationError as error:
            refused = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
            if not refused:
                raise
            readable = handler({name: item for name, item in value.items() if name not in refused})
            return readable.model_copy(update={name: value[name] for name in refused})


def _in_words(fault: RecipeFault) -> InitErrorDetails:
    kind = PydanticCustomError(fault.code, "{message}", {"message": fault.message})
    return InitErrorDetails(type=kind, loc=fault.place, input=fault.value)


def _given(value: Any) -> Any:
    if isinstance(value, BaseModel):
        names = [name for name in type(value).model_fields if name in value.model_fields_set]
        return {name: _given(getattr(value, name)) for name in names} | (value.model_extra or {})
    return [_given(item) for item in value] if isinstance(value, tuple) else value
