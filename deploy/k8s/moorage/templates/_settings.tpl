{{/* The registry's settings: what the chart knows, and `config` over it, as TOML. */}}

{{- define "moorage.settings" -}}
{{- $name := include "moorage.name" . -}}
{{- $server := dict "addr" ":5000" "workers" .Values.workers "public_url" (printf "https://%s" (required "host: the name under which clients reach the registry is needed" .Values.host)) -}}
{{- $settings := dict "server" $server "metrics" (dict "addr" ":5001") "log" (dict "format" "json") -}}
{{- if eq .Values.tls.terminate "registry" -}}
{{- $_ := set $settings "tls" (dict "certificate" "/etc/moorage/tls/tls.crt" "key" "/etc/moorage/tls/tls.key") -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- $hosts := list -}}
{{- range until 3 -}}
{{- $hosts = append $hosts (printf "%s-redis-%d.%s-redis:26379" $name . $name) -}}
{{- end -}}
{{- $_ := set $settings "coordination" (dict "redis" (dict "url" (printf "redis+sentinel://%s/moorage" (join "," $hosts)))) -}}
{{- end -}}
{{- if .Values.seaweedfs.enabled -}}
{{- $s3 := dict "endpoint" (printf "http://%s-store:8333" $name) "bucket" .Values.seaweedfs.bucket "create_bucket" true -}}
{{- $_ := set $settings "storage" (dict "driver" "s3" "s3" $s3) -}}
{{- end -}}
{{- $settings = mergeOverwrite $settings (deepCopy .Values.config) -}}
{{- $_ := required "config.storage.s3.bucket: the bucket is needed, or seaweedfs.enabled" (dig "storage" "s3" "bucket" "" $settings) -}}
{{- $_ := required "config.coordination.redis.url: replicas need a Redis, or redis.enabled" (dig "coordination" "redis" "url" "" $settings) -}}
{{- toJson $settings -}}
{{- end -}}

{{- define "moorage.toml.value" -}}
{{- if kindIs "map" . -}}
{ {{- range $index, $key := keys . | sortAlpha }}{{ if $index }},{{ end }} {{ toJson $key }} = {{ include "moorage.toml.value" (get $ $key) }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "moorage.toml.value" $item }}{{ end }}]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* A table: its own values, then the tables in it. `path` is "" for the outermost. */}}
{{- define "moorage.toml.table" -}}
{{- $own := list -}}
{{- $inner := list -}}
{{- range $key := keys .table | sortAlpha -}}
{{- $value := get $.table $key -}}
{{- if kindIs "map" $value -}}
{{- $inner = append $inner (include "moorage.toml.table" (dict "path" (printf "%s.%s" $.path $key | trimPrefix ".") "table" $value)) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $own = append $own (printf "%s = %s\n" $key (include "moorage.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{{- if $own -}}
{{- if .path -}}
[{{ .path }}]
{{ end -}}
{{ join "" $own }}
{{ end -}}
{{ join "" $inner }}
{{- end -}}

{{- define "moorage.toml" -}}
{{- include "moorage.toml.table" (dict "path" "" "table" (include "moorage.settings" . | fromJson)) | trim -}}
{{- end -}}

{{/* The container that runs the registry's program, in the Deployment and the jobs. */}}
{{- define "moorage.program" -}}
image: {{ include "moorage.ownImage" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{ include "moorage.containerSecurity" . }}
env:
  {{- range $setting, $from := .Values.secrets }}
  {{- if $from }}
  - name: MOORAGE__{{ $setting | upper | replace "." "__" }}_FILE
    value: /etc/moorage/secrets/{{ $setting }}
  {{- end }}
  {{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/moorage/config, readOnly: true}
  - {name: secrets, mountPath: /etc/moorage/secrets, readOnly: true}
  {{- if eq .Values.tls.terminate "registry" }}
  - {name: tls, mountPath: /etc/moorage/tls, readOnly: true}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "moorage.volumes" -}}
volumes:
  - name: config
    configMap: {name: {{ include "moorage.name" . }}-config}
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range $setting, $from := .Values.secrets }}
        {{- if $from }}
        - secret:
            name: {{ $from.name }}
            items: [{key: {{ $from.key }}, path: {{ $setting }}}]
        {{- end }}
        {{- end }}
  {{- if eq .Values.tls.terminate "registry" }}
  - name: tls
    secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 0440}
  {{- end }}
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 64Mi}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
