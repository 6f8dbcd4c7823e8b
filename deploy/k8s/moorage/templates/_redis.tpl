{{/* The containers of the bundled Redis: a node, and the Sentinel beside it. */}}

{{- define "moorage.redis.container" -}}
image: {{ include "moorage.image" .root.Values.redis.image }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command: [/bin/sh, /etc/redis/scripts/{{ .script }}]
{{ include "moorage.containerSecurity" .root }}
env:
  {{- include "moorage.podName" . | nindent 2 }}
  - {name: SERVICE, value: {{ include "moorage.name" .root }}-redis}
  - {name: NODES, value: {{ include "moorage.peers" (merge (dict "separator" " ") .) }}}
  - {name: PASSWORD_FILE, value: /etc/redis/secret/password}
  - {name: HOME_DIR, value: {{ .home }}}
  - {name: MAXMEMORY, value: {{ .root.Values.redis.maxmemory }}}
ports:
  - {name: {{ .port.name }}, containerPort: {{ .port.number }}, protocol: TCP}
livenessProbe:
  tcpSocket: {port: {{ .port.name }}}
  periodSeconds: 5
  failureThreshold: 6
  initialDelaySeconds: 30
readinessProbe:
  exec:
    command: [/bin/sh, -c, 'REDISCLI_AUTH="$(cat "$PASSWORD_FILE")" redis-cli -p {{ .port.number }} ping | grep -q PONG']
  periodSeconds: 3
  timeoutSeconds: 2
resources: {{- toYaml .root.Values.redis.resources | nindent 2 }}
volumeMounts:
  - {name: scripts, mountPath: /etc/redis/scripts, readOnly: true}
  - {name: secret, mountPath: /etc/redis/secret, readOnly: true}
  - {name: {{ .script | trimSuffix ".sh" }}, mountPath: {{ .home }}}
  - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "moorage.redis.containers" -}}
- name: redis
  {{- include "moorage.redis.container" (merge (dict "script" "redis.sh" "home" "/data/redis" "port" (dict "name" "redis" "number" 6379)) .) | nindent 2 }}
- name: sentinel
  {{- include "moorage.redis.container" (merge (dict "script" "sentinel.sh" "home" "/data/sentinel" "port" (dict "name" "sentinel" "number" 26379)) .) | nindent 2 }}
{{- end -}}

{{- define "moorage.redis.volumes" -}}
- name: scripts
  configMap: {name: {{ include "moorage.name" .root }}-redis}
- name: secret
  secret:
    secretName: {{ .password.name }}
    defaultMode: 0440
    items: [{key: {{ .password.key }}, path: password}]
# What they know is worth nothing after a restart, so that nothing is kept.
- name: redis
  emptyDir: {sizeLimit: 64Mi}
- name: sentinel
  emptyDir: {sizeLimit: 64Mi}
{{- end -}}
