"""Probes, hooks, restart policies and behaviours as manifests and mixes write them."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError, Problems
from sim.state.api import pod_from_v1
from sim.state.objects import Behaviour, Probe
from workloads.lives import ANNOTATION, with_behaviours
from workloads.shapes import Shape

HTTP = {"httpGet": {"port": 80}}


def read(container=None, annotations=None, **spec):
    problems = Problems("pod")
    doc = {
        "metadata": {"name": "p", "annotations": annotations or {}},
        "spec": {"containers": [{"name": "main", "image": "nginx", **(container or {})}], **spec},
    }
    _, found = pod_from_v1(doc, "pod", problems)
    found = with_behaviours(found, doc["metadata"]["annotations"], "pod", problems)
    problems.raise_if_any()
    return found


def test_probes_have_the_servers_defaults():
    found = read(
        {
            "livenessProbe": HTTP,
            "readinessProbe": {**HTTP, "periodSeconds": 3, "successThreshold": 2, "initialDelaySeconds": 5},
            "startupProbe": {"exec": {"command": ["true"]}, "failureThreshold": 30, "terminationGracePeriodSeconds": 7},
        },
        restartPolicy="OnFailure",
        runtimeClassName="kata",
    )
    main = found.containers[0]
    assert main.liveness_probe == Probe(0, 10, 1, 1, 3, None)
    assert main.readiness_probe == Probe(5, 3, 1, 2, 3, None)
    assert main.startup_probe == Probe(0, 10, 1, 1, 30, 7)
    assert (found.restart_policy, found.runtime_class) == ("OnFailure", "kata")


@pytest.mark.parametrize(
    ("hook", "seconds"),
    [
        ({"sleep": {"seconds": 5}}, 5.0),
        ({"exec": {"command": ["sleep", "7"]}}, 7.0),
        ({"exec": {"command": ["/bin/sh", "-c", "nginx -s quit; sleep 15"]}}, 15.0),
        ({"exec": {"command": ["/bin/true"]}}, 0.0),
        ({"httpGet": {"port": 8080}}, 0.0),
    ],
)
def test_hooks_take_as_long_as_they_say(hook, seconds):
    main = read({"lifecycle": {"preStop": hook, "postStart": hook}}).containers[0]
    assert (main.pre_stop_s, main.post_start_s) == (seconds, seconds)


@pytest.mark.parametrize(
    ("container", "path"),
    [
        ({"livenessProbe": {"periodSeconds": 3}}, "livenessProbe"),
        ({"livenessProbe": {**HTTP, "successThreshold": 2}}, "livenessProbe.successThreshold"),
        ({"readinessProbe": {**HTTP, "periodSeconds": 0}}, "readinessProbe.periodSeconds"),
        ({"readinessProbe": {**HTTP, "terminationGracePeriodSeconds": 3}}, "terminationGracePeriodSeconds"),
        ({"startupProbe": {**HTTP, "periodSecond": 3}}, "periodSecond"),
        ({"lifecycle": {"preStop": {}}}, "lifecycle.preStop"),
        ({"lifecycle": {"preSTop": HTTP}}, "preSTop"),
    ],
)
def test_what_the_server_refuses_is_refused_with_its_path(container, path):
    with pytest.raises(InputError, match=path):
        read(container)


def test_an_annotation_says_what_the_program_does():
    text = '{"main": {"exits_after_s": "90s", "exit_code": 1, "memory": [{"age_s": 0, "amount_bytes": "10Mi"}]}}'
    found = read(annotations={ANNOTATION: text})
    assert found.containers[0].behaviour == Behaviour(exits_after_s=90, exit_code=1, memory_bytes=((0, 10 * 2**20),))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "must be a mapping"),
        ("{man: {}}", "did you mean.*main"),
        ("{main: {exit_code: 300}}", "main.exit_code"),
        ("{main: {memory: [{age_s: 5, amount_bytes: 1}, {age_s: 5, amount_bytes: 2}]}}", "ages must rise"),
    ],
)
def test_bad_annotations_say_where(text, says):
    with pytest.raises(InputError, match=says):
        read(annotations={ANNOTATION: text})


def test_a_shape_of_a_mix_says_it_too():
    shape = Shape.model_validate(
        {"behaviour": {"starts_in_s": 3}, "readiness": {"period_s": 5}, "pre_stop_s": 2, "memory_limit": "1Gi"}
    )
    main = shape.container("nginx")
    assert main.behaviour == Behaviour(starts_in_s=3)
    assert main.readiness_probe == Probe(period_s=5)
    assert main.pre_stop_s == 2
    assert dict(main.limits)["memory"] == 2**30
