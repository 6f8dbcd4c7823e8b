"""Alerts: each fires at what it is for and is silent otherwise, as Prometheus' own tool has it.

`make chart` runs it.
"""

import os
import subprocess

import pytest
import yaml

from tests.deploy.rendered import objects, one
from tests.fixtures.programs import require_program

pytestmark = pytest.mark.skipif(not os.environ.get("MOORAGE_CHART"), reason="`make chart` runs it")

JOB = "images-metrics"
HOURS = 8
MINUTES = HOURS * 60

_STORE = 'moorage_storage_operations_total{driver="s3",operation="get"'

# A day like any other, a value a minute: two replicas of two workers, which work.
GOOD = {
    "up": "1x{m}",
    'moorage_requests_total{action="manifest.get",method="GET",status="200"}': "0+600x{m}",
    'moorage_requests_total{action="manifest.get",method="GET",status="503"}': "0+1x{m}",
    'moorage_request_duration_seconds_bucket{action="manifest.get",le="0.1"}': "0+600x{m}",
    'moorage_request_duration_seconds_bucket{action="manifest.get",le="5"}': "0+601x{m}",
    'moorage_request_duration_seconds_bucket{action="manifest.get",le="+Inf"}': "0+601x{m}",
    f'{_STORE},outcome="ok"}}': "0+900x{m}",
    f'{_STORE},outcome="failed"}}': "0+1x{m}",
    "moorage_coordination_connected": "2x{m}",
    "moorage_coordination_alone": "0x{m}",
    "moorage_coordination_terms_total": "1x{m}",
    "moorage_workers": "2x{m}",
    "moorage_workers_serving": "2x{m}",
    "moorage_worker_restarts_total": "1x{m}",
    'moorage_connections_closed_total{reason="limit"}': "0x{m}",
    'moorage_connections_closed_total{reason="malformed"}': "0+1x{m}",
    'moorage_tls_reloads_total{outcome="ok"}': "0+1x{m}",
    'moorage_tls_reloads_total{outcome="error"}': "0x{m}",
    "moorage_audit_refused_changes_total": "0x{m}",
    'moorage_audit_events_total{outcome="stored"}': "0+50x{m}",
    'moorage_audit_events_total{outcome="dropped"}': "0x{m}",
    "moorage_collection_last_pass_timestamp_seconds": "0+60x{m}",
    "moorage_collection_failed_candidates_total": "0x{m}",
    'moorage_scrub_damaged_total{outcome="quarantined"}': "0x{m}",
    'moorage_backup_jobs_total{kind="create",outcome="failed"}': "0x{m}",
    "moorage_webhook_dead_events_total": "0x{m}",
    'moorage_log_dropped_lines_total{log="access"}': "0x{m}",
}

# What becomes different, of the first replica or of both, for the alert to fire; and how many do.
BAD = {
    "MoorageDown": ({"up": "0x{m}"}, "both", 1),
    "MoorageReplicaDown": ({"up": "0x{m}"}, "one", 1),
    "MoorageErrors": (
        {'moorage_requests_total{action="manifest.get",method="GET",status="503"}': "0+20x{m}"},
        "one",
        1,
    ),
    "MoorageSlow": (
        {'moorage_request_duration_seconds_bucket{action="manifest.get",le="0.1"}': "0+500x{m}"},
        "both",
        1,
    ),
    "MoorageStoreFails": (
        {f'{_STORE},outcome="failed"}}': "0+40x{m}"},
        "one",
        1,
    ),
    "MoorageRedisAway": ({"moorage_coordination_connected": "1x{m}"}, "one", 1),
    "MoorageRedisFailsOver": ({"moorage_coordination_terms_total": "0+0.1x{m}"}, "both", 1),
    "MoorageWorkerCrashes": ({"moorage_worker_restarts_total": "0+0.1x{m}"}, "one", 1),
    "MoorageWorkersMissing": ({"moorage_workers_serving": "1x{m}"}, "one", 1),
    "MoorageConnectionsFull": (
        {'moorage_connections_closed_total{reason="limit"}': "0+1x{m}"},
        "both",
        2,
    ),
    "MoorageCertificateNotUsed": (
        {'moorage_tls_reloads_total{outcome="error"}': "0+0.1x{m}"},
        "both",
        2,
    ),
    "MoorageAuditStuck": ({"moorage_audit_refused_changes_total": "0+1x{m}"}, "one", 1),
    "MoorageDoorsTried": ({'moorage_audit_events_total{outcome="dropped"}': "0+1x{m}"}, "one", 1),
    "MoorageCollectionStands": (
        {"moorage_collection_last_pass_timestamp_seconds": "60x{m}"},
        "both",
        1,
    ),
    "MoorageCollectionFails": (
        {"moorage_collection_failed_candidates_total": "0+1x{m}"},
        "one",
        1,
    ),
    "MoorageDamage": (
        {'moorage_scrub_damaged_total{outcome="quarantined"}': "0+0.01x{m}"},
        "one",
        1,
    ),
    "MoorageBackupFails": (
        {'moorage_backup_jobs_total{kind="create",outcome="failed"}': "0+0.1x{m}"},
        "one",
        1,
    ),
    "MoorageWebhooksDead": ({"moorage_webhook_dead_events_total": "0+0.1x{m}"}, "one", 1),
    "MoorageLogLost": ({'moorage_log_dropped_lines_total{log="access"}': "0+1x{m}"}, "one", 1),
}


def series(changes, where):
    """The values of both replicas, with the changes of one or both."""
    for pod in ("a", "b"):
        for name, values in {**GOOD, **(changes if where == "both" or pod == "a" else {})}.items():
            metric, _, labels = name.removesuffix("}").partition("{")
            inner = ",".join(filter(None, [f'job="{JOB}"', f'pod="{pod}"', labels]))
            yield {"series": f"{metric}{{{inner}}}", "values": values.format(m=MINUTES)}


def firing(alert, count):
    return {
        "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
        "eval_time": f"{HOURS - 1}h",
        "exp_samples": [{"labels": "{}", "value": count}] if count else [],
    }


@pytest.fixture(scope="module")
def promtool(tmp_path_factory):
    """Run a test of the rules; the fixture is a function of the test."""
    program, home = require_program("promtool"), tmp_path_factory.mktemp("alerts")
    require_program("helm")
    spec = one(objects("everything"), "PrometheusRule")["spec"]
    (home / "rules.yaml").write_text(yaml.safe_dump(spec))

    def run(name, tests):
        document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
        (home / f"{name}.yaml").write_text(yaml.safe_dump(document))
        command = [program, "test", "rules", f"{name}.yaml"]
        return subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)

    checked = subprocess.run(
        [program, "check", "rules", "rules.yaml"],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return run


def alerts():
    (group,) = one(objects("everything"), "PrometheusRule")["spec"]["groups"]
    return [rule["alert"] for rule in group["rules"]]


def test_nothing_fires_on_a_good_day(promtool):
    expected = [firing(alert, 0) for alert in alerts()]
    test = {"interval": "1m", "input_series": list(series({}, "")), "promql_expr_test": expected}
    checked = promtool("good", [test])
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_each_fires_at_what_it_is_for(promtool):
    assert sorted(BAD) == sorted(alerts())
    tests = [
        {
            "interval": "1m",
            "input_series": list(series(changes, where)),
            "promql_expr_test": [firing(alert, count)],
        }
        for alert, (changes, where, count) in BAD.items()
    ]
    checked = promtool("bad", tests)
    assert checked.returncode == 0, checked.stdout + checked.stderr
