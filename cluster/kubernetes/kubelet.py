"""What a kubelet does with one pod: probes, and containers that are started anew."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cluster.kubernetes.pod import Pod

_LOOK_SECONDS: Final = 0.25
_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 300.0
_FORGOTTEN_AFTER: Final = 600.0


@dataclass(slots=True)
class _Watch:
    """One container, from the kubelet's side. Times of the monotonic clock."""

    container: Mapping[str, Any]
    born: float
    started: bool = False
    ready: bool = False
    failures: int = 0
    unready: int = 0
    pause: float = 0.0
    due: float = 0.0
    next_probe: float = 0.0
    next_ready: float = 0.0


class Kubelet:
    """Watches a pod, on a thread of its own, until that has ended."""

    def __init__(self, pod: Pod) -> None:
        now = time.monotonic()
        self._pod = pod
        self._watches = [_Watch(each, now) for each in pod.spec["containers"]]
        threading.Thread(target=self._watch, daemon=True, name=pod.name).start()

    def _watch(self) -> None:
        pod = self._pod
        while not pod.ended:
            for watch in self._watches:
                self._look(watch, time.monotonic())
            ready = not pod.ending and all(each.ready for each in self._watches)
            if ready and not pod.ready:
                pod.ready_since = time.monotonic()
            pod.ready = ready
            time.sleep(_LOOK_SECONDS)

    def _look(self, watch: _Watch, now: float) -> None:
        pod, process = self._pod, self._pod.containers[watch.container["name"]]
        if not process.running:
            watch.ready = watch.started = False
            watch.failures = watch.unready = 0
            if pod.running:
                self._restart(watch, now)
            return
        if pod.ending:
            return
        if not watch.started:
            self._look_started(watch, now)
            return
        self._look_alive(watch, now)
        self._look_ready(watch, now)

    def _restart(self, watch: _Watch, now: float) -> None:
        """At once at first, then after pauses that grow."""
        if not watch.due:
            if now - watch.born > _FORGOTTEN_AFTER:
                watch.pause = 0.0
            watch.due = now + watch.pause
        if now < watch.due:
            return
        self._pod.restarts += 1
        self._pod.start(watch.container["name"])
        watch.born, watch.due, watch.next_probe = now, 0.0, 0.0
        watch.pause = min(_LONGEST_PAUSE, 2 * watch.pause or _FIRST_PAUSE)

    def _look_started(self, watch: _Watch, now: float) -> None:
        probe = watch.container.get("startupProbe")
        if probe is None:
            watch.started, watch.next_probe = True, 0.0
            return
        if now < watch.next_probe:
            return
        watch.next_probe = now + probe["periodSeconds"]
        if self._pod.probe(watch.container, "startup"):
            watch.started, watch.failures, watch.next_probe = True, 0, 0.0
        else:
            self._count(watch, probe)

    def _look_alive(self, watch: _Watch, now: float) -> None:
        probe = watch.container.get("livenessProbe")
        if probe is None or now < watch.next_probe:
            return
        if now < watch.born + probe.get("initialDelaySeconds", 0):
            return
        watch.next_probe = now + probe["periodSeconds"]
        if self._pod.probe(watch.container, "liveness"):
            watch.failures = 0
        else:
            self._count(watch, probe)

    def _count(self, watch: _Watch, probe: Mapping[str, Any]) -> None:
        watch.failures += 1
        if watch.failures >= probe.get("failureThreshold", 3):
            self._pod.containers[watch.container["name"]].kill()

    def _look_ready(self, watch: _Watch, now: float) -> None:
        probe = watch.container.get("readinessProbe", {})
        if now < watch.next_ready:
            return
        watch.next_ready = now + probe.get("periodSeconds", 1)
        if self._pod.probe(watch.container, "readiness"):
            watch.ready, watch.unready = True, 0
        else:
            watch.unready += 1
            if watch.unready >= probe.get("failureThreshold", 3):
                watch.ready = False
