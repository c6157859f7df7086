# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as a PDF: the same page, laid out for A4 by WeasyPrint, which is needed for nothing else (extra `pdf`)."""

import warnings

from ivr.export.errors import ExportError


def pdf(html: str) -> bytes:
    """The PDF (tagged, PDF/UA-1). Raises ExportError when WeasyPrint or its libraries are not installed."""
    try:
        with warnings.catch_warnings():
            # It would like libharfbuzz-subset0, and embeds fonts without it too.
            warnings.simplefilter("ignore", DeprecationWarning)
            from weasyprint import HTML
            from weasyprint.urls import FatalURLFetchingError, URLFetcher
    except (ImportError, OSError) as error:
        raise ExportError(
            f"no PDF can be made here: {str(error).splitlines()[0]}",
            todo="pip install 'assent-ivr[pdf]', and on Debian libpango-1.0-0 and libpangoft2-1.0-0; or --format html",
        ) from error
    # Folded parts must be on paper.
    opened = html.replace("<details>", "<details open>")
    # No protocol is allowed: the page asks for nothing, and if it did, nobody would be asked.
    nobody = URLFetcher(allowed_protocols=(), fail_on_errors=True)
    try:
        content: bytes = HTML(string=opened, url_fetcher=nobody).write_pdf(pdf_variant="pdf/ua-1")
    except FatalURLFetchingError as error:
        raise ExportError(f"the report asks for something, and may ask for nothing: {error}") from error
    return content
