"""Asks the running server for what only it knows."""

from __future__ import annotations

from typing import Any


def ask(method: str, path: str) -> Any:
    """Return what the server answers at a path below `/api`, as JSON or text.

    Raises
    ------
    UserError
        If it refuses: with its sentence.
    FaultError
        If none runs, or it fails.
    """
    import httpx

    from lit.streams.errors import FaultError

    url, bearer = server()
    try:
        answer = httpx.request(method, f"{url}/api{path}", headers=bearer, timeout=30, trust_env=False)
    except httpx.HTTPError as error:
        raise FaultError(f"LIT at {url} does not answer: {error}") from error
    if answer.status_code >= 400:
        refuse(answer)
    return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text


def runs() -> bool:
    """Tell whether a server runs over the configured data root."""
    from lit.settings import Settings
    from lit.streams.store_open import running_server

    return running_server(Settings().data) is not None


def server() -> tuple[str, dict[str, str]]:
    """Return the server's address, and the header that lets in."""
    from lit.settings import Settings
    from lit.streams.errors import FaultError
    from lit.streams.store_open import running_server

    settings = Settings()
    found = running_server(settings.data)
    if found is None:
        raise FaultError(f"LIT does not run over {settings.data.resolve()}: `lit up` starts it")
    return found[0], {"Authorization": f"Bearer {found[1]}"}


def refuse(answer: Any) -> None:
    """Raise what an answer that is no success says."""
    from lit.streams.errors import FaultError, UserError

    try:
        said = answer.json()["detail"]
    except (ValueError, KeyError):
        said = answer.text[:200]
    raise (UserError if answer.status_code < 500 else FaultError)(str(said))
