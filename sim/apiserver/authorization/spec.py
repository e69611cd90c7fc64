"""Which authorizers are on, and in which order they are asked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import model_validator

from sim.apiserver.authentication.spec import refuse_unused, with_types
from sim.apiserver.authorization.catalog import AUTHORIZERS, AuthorizerSpec
from sim.base.errors import Problems
from sim.base.fields import Named
from sim.base.spec import Choice, Spec, param


class AuthorizationSpec(Spec):
    """Who may do what: authorizers, asked one after the other until one allows or denies."""

    modes: tuple[str, ...] = param(
        ("node", "rbac"), "authorizers that are on, in the order in which they are asked", source="kubeadm: Node,RBAC",
        min_length=1,
    )  # fmt: skip
    methods: Named[Annotated[AuthorizerSpec, Choice(AUTHORIZERS, named_by_key=True)]] = param(
        {}, "parameters of authorizers by name"
    )

    @model_validator(mode="before")
    @classmethod
    def _every_mode_has_a_method(cls, data: Any) -> Any:
        return with_types(data, cls.model_fields["modes"].default)

    def check(self, path: str, problems: Problems) -> None:
        """Add what does not go together."""
        if len(set(self.modes)) < len(self.modes):
            problems.add(f"{path}.modes", list(self.modes), "name an authorizer twice")
        for name, spec in self.methods.items():
            if name in self.modes:
                spec.check(f"{path}.methods.{name}", problems)
            else:
                refuse_unused(f"{path}.methods.{name}", spec, self.modes, problems)

    def check_files(self, path: str, version: str, base_dir: str, problems: Problems) -> None:
        """Read the files that authorizers need, and add what is wrong with them."""
        for name in self.modes:
            self.methods[name].check_files(f"{path}.methods.{name}", version, base_dir, problems)
