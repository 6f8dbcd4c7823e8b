{{/*
What is bundled runs in StatefulSets: each pod has a name of its own, <name>-<component>-<n>, under
which the others find it, also while it is not ready. Takes root, component, replicas, containers and
volumes (both as YAML), a size where each pod keeps data, and a grace other than 60 seconds.
*/}}
{{- define "moorage.stateful" -}}
{{- $name := printf "%s-%s" (include "moorage.name" .root) .component -}}
---
apiVersion: v1
kind: Service
metadata: {{- include "moorage.metadata" (merge (dict "name" $name) .) | nindent 2 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector: {{- include "moorage.selector" . | nindent 4 }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{- include "moorage.metadata" (merge (dict "name" $name) .) | nindent 2 }}
spec:
  serviceName: {{ $name }}
  replicas: {{ .replicas }}
  podManagementPolicy: Parallel
  revisionHistoryLimit: 5
  minReadySeconds: 10
  selector:
    matchLabels: {{- include "moorage.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "moorage.labels" . | nindent 8 }}
      {{- with .checksum }}
      annotations:
        checksum/config: {{ . }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "moorage.name" .root }}-bundled
      automountServiceAccountToken: false
      {{- include "moorage.pod" .root | nindent 6 }}
      {{- include "moorage.spread" . | nindent 6 }}
      terminationGracePeriodSeconds: {{ .grace | default 60 }}
      containers: {{- .containers | nindent 8 }}
      volumes:
        - name: tmp
          emptyDir: {medium: Memory, sizeLimit: 64Mi}
        {{- .volumes | nindent 8 }}
  {{- with .size }}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain, whenScaled: Retain}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $.root.Values.seaweedfs.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests: {storage: {{ . }}}
  {{- end }}
{{- end -}}

{{/* The names of a component's pods, with a port: comma-separated. */}}
{{- define "moorage.peers" -}}
{{- $name := printf "%s-%s" (include "moorage.name" .root) .component -}}
{{- $peers := list -}}
{{- range until (int .replicas) -}}
{{- $peers = append $peers (printf "%s%s-%d.%s%s" ($.before | default "") $name . $name ($.after | default "")) -}}
{{- end -}}
{{- join ($.separator | default ",") $peers -}}
{{- end -}}

{{- define "moorage.podName" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end -}}
