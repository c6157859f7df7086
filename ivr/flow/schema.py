# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON Schemas of the YAML files, for editors. The loader checks more: keys by mode, section names, every way."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ivr.flow.duration import Duration, Period

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsWritten(GenerateJsonSchema):
    """Defaults as they would be written in the file: `8s`, not the fields of the value behind it."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json")
        return str(dft) if isinstance(dft, (Duration, Period)) else super().encode_default(dft)


def schema_of(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The schema of a file that holds this model."""
    return {"$schema": DIALECT, **model.model_json_schema(schema_generator=_AsWritten), "title": title}


def schema_text(model: type[BaseModel], title: str) -> str:
    """`schema_of` as the text of a file, the same on every run."""
    return json.dumps(schema_of(model, title), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
