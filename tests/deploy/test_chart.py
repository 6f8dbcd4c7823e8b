"""The chart: its values, what it makes of them, and that it fits the registry."""

import json
import os
import re
import subprocess
import tomllib

import pytest

from deploy.k8s import render
from registry import config
from registry.cli import command_line
from registry.config.load import PREFIX
from tests.deploy.rendered import (
    EVERYTHING,
    EXAMPLES,
    defaults,
    leaves,
    load,
    objects,
    one,
    option,
    pods,
)
from tests.fixtures.programs import require_program

VALUES = (render.CHART / "values.yaml").read_text()
EVERY = sorted(EXAMPLES)


@pytest.fixture(autouse=True)
def _helm():
    require_program("helm")


@pytest.mark.parametrize("name", EVERY)
def test_lint_has_nothing_to_say(name):
    made = render.helm("lint", "--strict", str(render.CHART), "-f", str(EXAMPLES[name]))
    assert made.returncode == 0, made.stdout + made.stderr


def test_what_is_made_is_up_to_date():
    stale = [
        path.name for path, text in render.made() if not path.exists() or path.read_text() != text
    ]
    assert not stale, "run `make manifests`"


def test_an_older_kubernetes_is_told_of():
    with pytest.raises(RuntimeError, match=r"requires kubeVersion"):
        render.template([EVERYTHING], version="1.29")


@pytest.mark.parametrize("version", render.KUBERNETES)
def test_every_supported_kubernetes_gets_the_same(version):
    assert load(render.template([EVERYTHING], version=version)) == objects("everything")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('hots="a.example"', "hots"),
        ('host="https://a.example"', "/host"),
        ("replicas=1", "/replicas"),
        ('replicas="3"', "/replicas"),
        ('image={"digest":"sha256:1"}', "/image/digest"),
        ("config.server.worker=2", "worker"),
        ("config.server.drain_seconds=-1", "drain_seconds"),
        ('config.storage.s3.secret_key="x"', "secret_key"),
        ('secrets={"storage.s3.bucket":{"name":"a","key":"b"}}', "bucket"),
        ('secrets={"tls.key_password":{"name":"a"}}', "tls.key_password"),
        ('tls.terminate="proxy"', "/tls/terminate"),
        ('gateway={"enabled":true,"parentRefs":[]}', "parentRefs"),
        ('jobs.scrub.schedule="weekly"', "/jobs/scrub/schedule"),
        ("seaweedfs.volumes.replicas=3", "/seaweedfs/volumes/replicas"),
        ("autoscaling.cpuPercent=101", "cpuPercent"),
        ('tests.conformance={"enabled":true,"image":{"repository":""}}', "repository"),
        # What only the chart's own look at all of them finds.
        ('host=""', "host: the name"),
        ("seaweedfs.enabled=false", "config.storage.s3.bucket"),
        ("redis.enabled=false", "config.coordination.redis.url"),
        ('secrets={"coordination.redis.password":null}', "bundled Redis needs a password"),
        ('tls.certManager={"enabled":true,"issuerName":""}', "issuerName"),
    ],
)
def test_a_wrong_value_is_refused_by_name(value, why):
    with pytest.raises(RuntimeError) as refused:
        render.template([EVERYTHING, value])
    assert why in str(refused.value)


def changed(path, value, number):
    """Another value of the same kind, which is not to be found by chance."""
    if isinstance(value, str):
        return f"x{number}x"
    if isinstance(value, int):
        return 70_000 + number
    if isinstance(value, list):
        return [{f"x{number}x": "y"}]
    assert value == {}, path
    return {f"x{number}x": "y"}


def test_every_value_is_used():
    """Each is changed, and seen in what is made; what switches is tried one by one."""
    everything = load(EVERYTHING.read_text())[0]
    switches, options, wanted = [], [], {}
    for number, (path, value) in enumerate(leaves(defaults())):
        name = ".".join(path)
        if isinstance(value, bool) or name in {"tls.terminate", "service.type"}:
            switches.append((path, value))
        else:
            new = changed(path, value, number)
            options.append(option(path, new))
            wanted[name] = f"x{number}x" if not isinstance(value, int) else str(70_000 + number)
    digests = {name for name in wanted if name.endswith(".digest")}
    assert len(wanted) > 70
    everything_of = [EVERYTHING, *options]
    made = template_unchecked(everything_of)
    unseen = {name for name, text in wanted.items() if text not in made}
    # A tag gives way to a digest.
    tags = {name.removesuffix("digest") + "tag" for name in digests}
    assert unseen == tags
    made = template_unchecked([each for each in everything_of if ".digest=" not in str(each)])
    assert {name for name in tags if wanted[name] not in made} == set()

    standing = objects("everything")
    for path, value in switches:
        here = everything
        for key in path:
            here = here.get(key, value) if isinstance(here, dict) else here
        other = {"edge": "registry", "registry": "edge", "ClusterIP": "NodePort"}
        new = other[here] if isinstance(here, str) else not here
        more = [option(path, new)]
        if path[0] in {"redis", "seaweedfs"}:
            more += ['config.coordination.redis.url="redis://a"', 'config.storage.s3.bucket="bbb"']
        assert objects("everything", *more) != standing, path


def template_unchecked(values):
    """What is made of values that the schema would refuse."""
    options = []
    for value in values:
        options += ["--set-json", value] if isinstance(value, str) else ["-f", str(value)]
    known = ["--kube-version", "1.34", "--skip-schema-validation", "--namespace", "moorage"]
    made = render.helm("template", "moorage", str(render.CHART), *known, *options)
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_every_value_is_explained():
    """By a comment above it, or above the map that it is in."""
    explained, path = set(), []
    comment = False
    for line in VALUES.splitlines():
        found = re.match(r"( *)([\w.]+):", line)
        if line.strip().startswith("#"):
            comment = True
        elif found:
            depth = len(found[1]) // 2
            path[depth:] = [found[2]]
            if comment:
                explained.add(tuple(path))
            comment = False
        else:
            comment = False
    obvious = {"enabled", "image", "resources", "size", "replicas", "annotations", "port"}
    for leaf, _ in leaves(defaults()):
        parts = [leaf[:length] for length in range(1, len(leaf) + 1)]
        if not obvious & set(leaf):
            assert explained & set(parts), ".".join(leaf)


@pytest.mark.parametrize("name", EVERY)
def test_the_registry_takes_its_settings(name, tmp_path):
    text = one(objects(name), "ConfigMap", f"{release(name)}-config")["data"]["moorage.toml"]
    file = tmp_path / "moorage.toml"
    file.write_text(text)
    loaded = config.load([file])
    assert loaded.server.public_url == "https://images.example.org"
    assert loaded.coordination.redis.url.startswith("redis+sentinel://")
    assert loaded.auth.mode == "projects"


def release(name):
    return "images" if name == "everything" else "moorage"


def test_settings_survive_the_way_into_toml():
    values = load(EVERYTHING.read_text())[0]
    text = one(objects("everything"), "ConfigMap", "images-config")["data"]["moorage.toml"]
    assert tomllib.loads(text)["auth"]["workload"] == values["config"]["auth"]["workload"]
    large = objects("everything", "config.quota.bytes=123456789012")
    text = one(large, "ConfigMap", "images-config")["data"]["moorage.toml"]
    assert tomllib.loads(text)["quota"]["bytes"] == 123456789012


@pytest.mark.parametrize("name", EVERY)
def test_the_registry_is_probed_and_stopped_as_it_serves(name):
    found = objects(name)
    pod = one(found, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    text = one(found, "ConfigMap", f"{release(name)}-config")["data"]["moorage.toml"]
    settings = tomllib.loads(text)
    server = settings["server"]
    assert pod["terminationGracePeriodSeconds"] == (
        server["drain_delay_seconds"] + server["drain_seconds"] + 10
    )
    # Whoever waits for its store is not ended for it, and then has two minutes.
    start = container["startupProbe"]
    patience = start["periodSeconds"] * start["failureThreshold"]
    assert 0 <= patience - settings["storage"]["s3"]["wait_seconds"] - 120 < 2
    ports = {port["name"]: f":{port['containerPort']}" for port in container["ports"]}
    assert ports == {"api": server["addr"], "metrics": settings["metrics"]["addr"]}
    scheme = "HTTPS" if "tls" in settings else "HTTP"
    asked = {
        probe: container[f"{probe}Probe"]["httpGet"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert {each["scheme"] for each in asked.values()} == {scheme}
    # A store that does not answer takes a replica out of service, and never restarts it.
    assert asked["liveness"]["path"] == asked["startup"]["path"] == "/healthz"
    assert asked["readiness"]["path"] == "/readyz"
    # Not ready must be noticed while the replica still accepts.
    ready = container["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] < server["drain_delay_seconds"]


@pytest.mark.parametrize("seconds", [0.5, 91, 3600])
def test_the_startup_probe_has_the_patience_of_the_registry(seconds):
    found = objects("everything", f"config.storage.s3.wait_seconds={seconds}")
    (container,) = one(found, "Deployment")["spec"]["template"]["spec"]["containers"]
    start = container["startupProbe"]
    assert 0 <= start["periodSeconds"] * start["failureThreshold"] - 120 - seconds < 3


@pytest.mark.parametrize("name", EVERY)
def test_secrets_are_files_where_settings_look_for_them(name):
    known = {setting.variable + "_FILE": setting for setting in config.settings() if setting.secret}
    for workload, template in pods(objects(name)):
        for container in template["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"].startswith(PREFIX):
                    setting = known[variable["name"]]
                    assert variable["value"] == f"/etc/moorage/secrets/{setting.name}"
                assert "conformance" in workload or "secretKeyRef" not in json.dumps(variable)
    pod = one(objects(name), "Deployment")["spec"]["template"]["spec"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == "secrets")
    files = {
        item["path"]
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert files == set(defaults()["secrets"])


@pytest.mark.parametrize("name", EVERY)
def test_every_pod_has_no_more_than_it_needs(name):
    for workload, template in pods(objects(name)):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], workload
        assert spec["enableServiceLinks"] is False
        token = name == "everything" and spec.get("serviceAccountName") == "images"
        assert spec["automountServiceAccountToken"] is token, workload
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"], workload
            assert not security["allowPrivilegeEscalation"], workload
            assert security["capabilities"] == {"drop": ["ALL"]}, workload
            assert "memory" in container["resources"]["limits"], workload
            assert container["resources"]["requests"], workload


@pytest.mark.parametrize("name", EVERY)
def test_what_is_replicated_may_lose_one(name):
    found = objects(name)
    budgets = [each["spec"] for each in found if each["kind"] == "PodDisruptionBudget"]
    for each in found:
        if each["kind"] in {"Deployment", "StatefulSet"}:
            labels = each["spec"]["selector"]["matchLabels"]
            mine = [one for one in budgets if one["selector"]["matchLabels"] == labels]
            assert [one["maxUnavailable"] for one in mine] == [1], each["metadata"]["name"]
            spread = each["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert {one["topologyKey"] for one in spread} == {
                "topology.kubernetes.io/zone",
                "kubernetes.io/hostname",
            }
            assert all(one["labelSelector"]["matchLabels"] == labels for one in spread)
            assert each["spec"].get("replicas", 3) >= 3
    strategy = one(found, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
    assert one(found, "HorizontalPodAutoscaler")["spec"]["minReplicas"] == 3


def peers(policy, way, key):
    """Who may be talked to, by which ports: (component or None, port)."""
    for rule in policy["spec"].get(way) or []:
        for peer in rule.get(key, [{}]):
            labels = peer.get("podSelector", {}).get("matchLabels", {})
            for port in rule["ports"]:
                yield labels.get("app.kubernetes.io/component"), port["port"]


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_reached_but_what_is_named_on_both_sides(name):
    found = objects(name)
    policies = [each for each in found if each["kind"] == "NetworkPolicy"]
    everything = one(found, "NetworkPolicy", f"{release(name)}-deny-all")["spec"]
    assert set(everything) == {"podSelector", "policyTypes"}
    component = "app.kubernetes.io/component"
    of = {
        each["spec"]["podSelector"]["matchLabels"][component]: each
        for each in policies
        if component in each["spec"]["podSelector"]["matchLabels"]
    }
    listened = {}
    for workload, template in pods(found):
        labels = template["metadata"]["labels"]
        assert everything["podSelector"]["matchLabels"].items() <= labels.items(), workload
        assert labels[component] in of, workload
        ports = {
            port["containerPort"]
            for container in template["spec"]["containers"]
            for port in container.get("ports", [])
        }
        listened.setdefault(labels[component], set()).update(ports)
    outward = {
        (source, target, port)
        for source, policy in of.items()
        for target, port in peers(policy, "egress", "to")
        if target
    }
    inward = {
        (source, target, port)
        for target, policy in of.items()
        for source, port in peers(policy, "ingress", "from")
        if source
    }
    # Everybody may reach the registry's API, unless clients are named.
    assert outward - inward == ({("test", "registry", 5000)} if name != "everything" else set())
    assert inward - outward == set()
    for _, target, port in outward:
        assert port in listened[target], (target, port)


@pytest.mark.parametrize(
    ("value", "policy", "way", "port"),
    [("monitoring", "registry", "ingress", 5001), ("dns", "dns", "egress", 53)],
)
def test_an_empty_list_of_peers_lets_nobody_and_not_everybody(value, policy, way, port):
    made = objects("everything", f"networkPolicy.{value}=[]")
    spec = one(made, "NetworkPolicy", f"{release('everything')}-{policy}")["spec"]
    assert [rule for rule in spec[way] for each in rule["ports"] if each["port"] == port] == []
    assert way.capitalize() in spec["policyTypes"]


@pytest.mark.parametrize("script", ["redis.sh", "sentinel.sh"])
@pytest.mark.parametrize("password", ["", "two words", 'a"b', "one\nrename-command AUTH x", "#"])
def test_a_password_that_would_be_read_as_more_is_refused(script, password, tmp_path):
    file = tmp_path / "password"
    file.write_text(password)
    ran = subprocess.run(
        ["/bin/sh", str(render.CHART / "files" / script)],
        env={"PATH": os.environ["PATH"], "PASSWORD_FILE": str(file), "HOME_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "password of Redis may have" in ran.stderr


def test_without_policies_there_are_none():
    made = objects("everything", "networkPolicy.enabled=false")
    assert not [each for each in made if each["kind"] == "NetworkPolicy"]


def test_a_gateway_that_ends_is_not_waited_for():
    """It takes no writes any more, and the others send it theirs until it is gone."""
    gateways = one(objects("bundled"), "StatefulSet", "moorage-s3")
    assert gateways["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] <= 5
    etcd = one(objects("bundled"), "StatefulSet", "moorage-etcd")
    assert etcd["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 60


def test_the_bucket_keeps_what_sessions_need():
    """The store's own cleaning must not take an upload that can still go on (seven days)."""
    text = one(objects("bundled"), "ConfigMap", "moorage-weed")["data"]["master.toml"]
    (hours,) = re.findall(r"s3\.clean\.uploads -timeAgo=(\d+)h", text)
    assert int(hours) >= 8 * 24


@pytest.mark.parametrize("name", EVERY)
def test_jobs_run_commands_that_there_are(name):
    jobs = [each for each in objects(name) if each["kind"] == "CronJob"]
    assert len(jobs) == (4 if name == "everything" else 3)
    for each in jobs:
        assert each["spec"]["concurrencyPolicy"] == "Forbid"
        (container,) = each["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        command_line().parse_args(container["args"])
