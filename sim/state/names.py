"""Which names Kubernetes accepts, for objects, labels and resources; and what kinds of resources there are.

A `*_fault` function gives the rule that a text breaks, as a sentence fragment, or an empty string.
Sources: Kubernetes 1.34 source, apimachinery `util/validation` and core `helper`.
"""

from __future__ import annotations

import re

_NAME_PART = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?", re.ASCII)
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)


def dns_label_fault(text: str) -> str:
    """The rule that a DNS label (namespace and container names) breaks, or an empty string."""
    if len(text) <= 63 and _DNS_LABEL.fullmatch(text):
        return ""
    return "must be 1 to 63 lower-case letters, digits or '-', starting and ending with a letter or digit"


def dns_subdomain_fault(text: str) -> str:
    """The rule that a DNS subdomain (names of pods and nodes) breaks, or an empty string."""
    if len(text) <= 253 and _DNS_SUBDOMAIN.fullmatch(text):
        return ""
    return (
        "must be 1 to 253 lower-case letters, digits, '-' or '.', each part starting and ending with a letter or digit"
    )


def label_key_fault(text: str) -> str:
    """The rule that a label key (a qualified name, `[prefix/]name`) breaks, or an empty string."""
    prefix, slash, name = text.rpartition("/")
    if slash and (not prefix or dns_subdomain_fault(prefix)):
        return "must have a DNS subdomain before its one '/'"
    if len(name) <= 63 and _NAME_PART.fullmatch(name):
        return ""
    return "must have a name of 1 to 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit"


def label_value_fault(text: str) -> str:
    """The rule that a label value breaks, or an empty string."""
    if text == "" or (len(text) <= 63 and _NAME_PART.fullmatch(text)):
        return ""
    return "must be empty or at most 63 letters, digits, '-', '_' or '.', starting and ending with a letter or digit"


def is_native_resource(name: str) -> bool:
    """Kubernetes' own resource: no domain, or one under kubernetes.io."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended_resource(name: str) -> bool:
    """A resource under someone's own domain, such as nvidia.com/gpu: whole numbers, requests equal to limits."""
    return not is_native_resource(name) and not name.startswith("requests.") and not label_key_fault(f"requests.{name}")


def is_huge_page(name: str) -> bool:
    """Pages of one size, in bytes: never overcommitted."""
    return name.startswith("hugepages-")


def may_overcommit(name: str) -> bool:
    """Whether a limit may exceed the request."""
    return is_native_resource(name) and not is_huge_page(name)


def is_pod_level_resource(name: str) -> bool:
    """Whether a pod can ask for it as a whole (1.34)."""
    return name in ("cpu", "memory") or is_huge_page(name)
