"""Who may do what: users, organisations, and tokens with the Hub's roles (read, write, fineGrained)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import HubError
from .store import Repo, now

Role = Literal["read", "write", "fineGrained"]

READ_REPOS, WRITE_REPOS, RUN_JOBS = "repo.content.read", "repo.write", "job.write"


@dataclass(kw_only=True)
class Person:
    """A user; `credits_usd` is what jobs may still cost, None for without end."""

    name: str
    orgs: tuple[str, ...] = ()
    credits_usd: float | None = None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where the person may own things."""
        return (self.name, *self.orgs)


@dataclass(frozen=True, kw_only=True)
class Token:
    """A secret by which a person is known, and what it may be used for."""

    value: str
    person: Person
    role: Role
    permissions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a fineGrained one: permissions by namespace."""
    created: str = field(default_factory=now)

    def allows(self, permission: str, namespace: str) -> bool:
        """Tell whether it opens `permission` for what this namespace owns."""
        if namespace not in self.person.namespaces:
            return False
        if self.role == "fineGrained":
            granted = self.permissions.get(namespace, ())
            return permission in granted or (permission == READ_REPOS and WRITE_REPOS in granted)
        return self.role == "write" or permission == READ_REPOS


class People:
    """All who are known here."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self.persons: dict[str, Person] = {}

    def add(self, name: str, *, orgs: Iterable[str] = (), credits_usd: float | None = None) -> Person:
        """Let a user join."""
        person = Person(name=name, orgs=tuple(orgs), credits_usd=credits_usd)
        self.persons[name] = person
        return person

    def issue(self, person: Person, role: Role, *permissions: str) -> str:
        """Make a token; a fineGrained one has these permissions in all of the person's namespaces."""
        scoped = dict.fromkeys(person.namespaces, permissions) if role == "fineGrained" else {}
        value = f"hf_{secrets.token_urlsafe(24).replace('-', 'x').replace('_', 'y')}"
        self._tokens[value] = Token(value=value, person=person, role=role, permissions=scoped)
        return value

    def revoke(self, value: str) -> None:
        """Make a token worthless."""
        del self._tokens[value]

    def known(self, authorization: str | None) -> Token | None:
        """Return who asks, None for somebody without a token.

        Raises:
            HubError: The token is not one of ours.
        """
        if not authorization:
            return None
        token = self._tokens.get(authorization.removeprefix("Bearer ").strip())
        if token is None:
            raise HubError(401, "Invalid credentials in Authorization header")
        return token

    def require(self, authorization: str | None) -> Token:
        """Return who asks.

        Raises:
            HubError: Nobody we know.
        """
        token = self.known(authorization)
        if token is None:
            raise HubError(401, "Invalid username or password.")
        return token


def require_sight(token: Token | None, repo: Repo) -> None:
    """Refuse those for whom a private repository does not exist."""
    if not repo.private or (token and token.allows(READ_REPOS, repo.namespace)):
        return
    raise HubError(404 if token else 401, "Repository not found", code="RepoNotFound")


def require_content(token: Token | None, repo: Repo) -> None:
    """Refuse those who may not download."""
    require_sight(token, repo)
    if not repo.gated or (token and (token.person.name in repo.granted or repo.namespace in token.person.namespaces)):
        return
    raise HubError(
        403 if token else 401,
        f"Access to {repo.kind} {repo.id} is restricted and you are not in the authorized list.",
        code="GatedRepo",
    )


def require_permission(token: Token, permission: str, namespace: str) -> None:
    """Refuse a token that does not open this for that namespace."""
    if not token.allows(permission, namespace):
        role = f"a {token.role} token" if token.role != "fineGrained" else f"a token without `{permission}`"
        raise HubError(403, f"You don't have the required permissions for `{namespace}` with {role}.")


def whoami(token: Token) -> dict[str, Any]:
    """Return what `GET /api/whoami-v2` says."""
    person = token.person
    access: dict[str, Any] = {"displayName": "test", "role": token.role, "createdAt": token.created}
    if token.role == "fineGrained":
        scoped = [
            {"entity": {"_id": f"id-{name}", "type": _kind(person, name), "name": name}, "permissions": list(granted)}
            for name, granted in token.permissions.items()
        ]
        access["fineGrained"] = {"canReadGatedRepos": True, "global": [], "scoped": scoped}
    return {
        "type": "user",
        "id": f"id-{person.name}",
        "name": person.name,
        "fullname": person.name.title(),
        "email": f"{person.name}@example.org",
        "emailVerified": True,
        "isPro": False,
        "canPay": person.credits_usd is None,
        "billingMode": "prepaid",
        "periodEnd": None,
        "avatarUrl": "",
        "orgs": [
            {
                "type": "org",
                "id": f"id-{name}",
                "name": name,
                "fullname": name.title(),
                "canPay": False,
                "roleInOrg": "write",
            }
            for name in person.orgs
        ],
        "auth": {"type": "access_token", "accessToken": access},
    }


def _kind(person: Person, name: str) -> str:
    return "user" if name == person.name else "org"
