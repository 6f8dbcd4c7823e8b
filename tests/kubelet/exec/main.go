// Command kubelet-exec does with a credential provider, and with a Secret, what a kubelet does: by
// Kubernetes' own types and its strict codec, as k8s.io/kubernetes/pkg/credentialprovider has it.
//
//	kubelet-exec provider IMAGE PROGRAM [ARGUMENT…]   token on standard input; prints what it answers
//	kubelet-exec secret                               a manifest on standard input; prints its value
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/kubelet/pkg/apis/credentialprovider"
	"k8s.io/kubelet/pkg/apis/credentialprovider/install"
	v1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

func main() {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	err := corev1.AddToScheme(scheme)
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	if err == nil {
		switch {
		case len(os.Args) > 3 && os.Args[1] == "provider":
			err = provide(codecs, os.Args[2], os.Args[3], os.Args[4:])
		case len(os.Args) == 2 && os.Args[1] == "secret":
			err = secret(codecs)
		default:
			err = fmt.Errorf("usage: kubelet-exec provider IMAGE PROGRAM [ARGUMENT…] | secret")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func provide(codecs serializer.CodecFactory, image, program string, arguments []string) error {
	token, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	info, _ := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	request, err := runtime.Encode(
		codecs.EncoderForVersion(info.Serializer, v1.SchemeGroupVersion),
		&credentialprovider.CredentialProviderRequest{
			Image:                     image,
			ServiceAccountToken:       string(token),
			ServiceAccountAnnotations: map[string]string{"example.org/registry": "moorage"},
		},
	)
	if err != nil {
		return err
	}
	command := exec.Command(program, arguments...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(request), &stdout, &stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, stderr.String())
	}
	found, _, err := codecs.UniversalDecoder().Decode(stdout.Bytes(), nil, nil)
	if err != nil {
		return err
	}
	response, ok := found.(*credentialprovider.CredentialProviderResponse)
	if !ok {
		return fmt.Errorf("unable to convert %T to *CredentialProviderResponse", found)
	}
	switch response.CacheKeyType {
	case credentialprovider.ImagePluginCacheKeyType,
		credentialprovider.RegistryPluginCacheKeyType,
		credentialprovider.GlobalPluginCacheKeyType:
	default:
		return fmt.Errorf("no valid cacheKeyType: %q", response.CacheKeyType)
	}
	seconds := -1.0
	if response.CacheDuration != nil {
		seconds = response.CacheDuration.Seconds()
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"cacheKeyType": response.CacheKeyType, "seconds": seconds, "auth": response.Auth,
	})
}

func secret(codecs serializer.CodecFactory) error {
	manifest, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	found, _, err := codecs.UniversalDeserializer().Decode(manifest, nil, nil)
	if err != nil {
		return err
	}
	kept, ok := found.(*corev1.Secret)
	if !ok || kept.Type != corev1.SecretTypeDockerConfigJson {
		return fmt.Errorf("no Secret of the type %s", corev1.SecretTypeDockerConfigJson)
	}
	_, err = os.Stdout.Write(kept.Data[corev1.DockerConfigJsonKey])
	return err
}
