# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a PDF: the same page, laid out for A4 by WeasyPrint, which is needed for nothing else (extra `pdf`)."""

import re
from typing import Any

from ivr.export.errors import ExportError


def pdf(html: str) -> bytes:
    """The PDF (tagged, PDF/UA-1). Raises ExportError when WeasyPrint or its libraries are not installed."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError) as error:
        raise ExportError(
            f"no PDF can be made here: {str(error).splitlines()[0]}",
            todo="pip install 'assent-ivr[pdf]', and on Debian libpango-1.0-0 and libpangoft2-1.0-0; or --format html",
        ) from error
    # Folded parts must be on paper, and paper has no buttons.
    opened = re.sub(r"<details>", "<details open>", html)
    content: bytes = HTML(string=opened, url_fetcher=_nobody).write_pdf(pdf_variant="pdf/ua-1")
    return content


def _nobody(url: str, *_args: Any, **_kwargs: Any) -> Any:
    raise ExportError(f"the report asked for {url[:60]}, and may ask for nothing")
