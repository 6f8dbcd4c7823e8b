{{/* The containers of the bundled store. */}}

{{- define "moorage.etcd.containers" -}}
{{- $service := printf "%s-etcd" (include "moorage.name" .root) -}}
- name: etcd
  image: {{ include "moorage.image" .root.Values.seaweedfs.etcd.image }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- include "moorage.containerSecurity" .root | nindent 2 }}
  command:
    - etcd
    - --name=$(POD_NAME)
    - --data-dir=/data/etcd
    - --listen-client-urls=http://0.0.0.0:2379
    - --listen-peer-urls=http://0.0.0.0:2380
    - --advertise-client-urls=http://$(POD_NAME).{{ $service }}:2379
    - --initial-advertise-peer-urls=http://$(POD_NAME).{{ $service }}:2380
    - --initial-cluster-token={{ $service }}
    - --initial-cluster={{ range $n := until (int .replicas) }}{{ if $n }},{{ end }}{{ $service }}-{{ $n }}=http://{{ $service }}-{{ $n }}.{{ $service }}:2380{{ end }}
    - --auto-compaction-mode=periodic
    - --auto-compaction-retention=30m
    - --quota-backend-bytes=8589934592
  env: {{- include "moorage.podName" . | nindent 4 }}
  ports:
    - {name: client, containerPort: 2379, protocol: TCP}
    - {name: peer, containerPort: 2380, protocol: TCP}
  # A member without a majority is no broken member.
  livenessProbe:
    tcpSocket: {port: client}
    periodSeconds: 10
    failureThreshold: 6
    initialDelaySeconds: 30
  readinessProbe:
    httpGet: {path: /health, port: client}
    periodSeconds: 5
    timeoutSeconds: 4
  resources: {{- toYaml .root.Values.seaweedfs.etcd.resources | nindent 4 }}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{/* What all containers of SeaweedFS share; `port` is the one that probes ask, at `path`. */}}
{{- define "moorage.weed.container" -}}
image: {{ include "moorage.image" .root.Values.seaweedfs.image }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{ include "moorage.containerSecurity" .root }}
env:
  {{- include "moorage.podName" . | nindent 2 }}
  {{- range $name, $value := .environment }}
  - {name: {{ $name }}, value: {{ $value }}}
  {{- end }}
livenessProbe:
  tcpSocket: {port: {{ .port }}}
  periodSeconds: 10
  failureThreshold: 6
  initialDelaySeconds: 30
readinessProbe:
  httpGet: {path: {{ .path }}, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 4
{{- end -}}

{{- define "moorage.weed.master" -}}
- name: master
  {{- include "moorage.weed.container" (merge (dict "port" "http" "path" "/cluster/status") .) | nindent 2 }}
  command:
    - weed
    - -logtostderr=true
    - master
    - -ip=$(POD_NAME).{{ include "moorage.name" .root }}-weed-master
    - -ip.bind=0.0.0.0
    - -mdir=/data
    - -peers={{ .masters }}
    - -defaultReplication=00{{ .root.Values.seaweedfs.copies }}
    - -volumeSizeLimitMB=4096
    - -telemetry=false
  ports:
    - {name: http, containerPort: 9333, protocol: TCP}
    - {name: grpc, containerPort: 19333, protocol: TCP}
  resources: {{- toYaml .root.Values.seaweedfs.masters.resources | nindent 4 }}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: config, mountPath: /etc/seaweedfs, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "moorage.weed.volume" -}}
- name: volume
  {{- include "moorage.weed.container" (merge (dict "port" "http" "path" "/status") .) | nindent 2 }}
  command:
    - weed
    - -logtostderr=true
    - volume
    - -ip=$(POD_NAME).{{ include "moorage.name" .root }}-weed-volume
    - -ip.bind=0.0.0.0
    - -dir=/data
    - -max=0
    - -mserver={{ .masters }}
  ports:
    - {name: http, containerPort: 8080, protocol: TCP}
    - {name: grpc, containerPort: 18080, protocol: TCP}
  resources: {{- toYaml .root.Values.seaweedfs.volumes.resources | nindent 4 }}
  volumeMounts:
    - {name: data, mountPath: /data}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "moorage.weed.gateway" -}}
- name: gateway
  {{- include "moorage.weed.container" (merge (dict "port" "s3" "path" "/healthz" "environment" (dict "KEYS" "/etc/weed/keys" "HOME_DIR" "/tmp")) .) | nindent 2 }}
  command:
    - /bin/sh
    - /etc/seaweedfs/weed-s3.sh
    - -ip=$(POD_NAME).{{ include "moorage.name" .root }}-s3
    - -ip.bind=0.0.0.0
    - -master={{ .masters }}
    - -s3.port.iceberg=0
    - -s3.port.lance=0
  ports:
    - {name: s3, containerPort: 8333, protocol: TCP}
    - {name: s3-grpc, containerPort: 18333, protocol: TCP}
    - {name: filer, containerPort: 8888, protocol: TCP}
    - {name: filer-grpc, containerPort: 18888, protocol: TCP}
  resources: {{- toYaml .root.Values.seaweedfs.gateways.resources | nindent 4 }}
  volumeMounts:
    - {name: config, mountPath: /etc/seaweedfs, readOnly: true}
    - {name: keys, mountPath: /etc/weed/keys, readOnly: true}
    - {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "moorage.weed.config" -}}
- name: config
  configMap: {name: {{ include "moorage.name" . }}-weed}
{{- end -}}

{{- define "moorage.weed.gatewayVolumes" -}}
{{ include "moorage.weed.config" .root }}
- name: keys
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .access.name }}
          items: [{key: {{ .access.key }}, path: access-key}]
      - secret:
          name: {{ .secret.name }}
          items: [{key: {{ .secret.key }}, path: secret-key}]
{{- end -}}
