package bundle

import (
	"testing"

	"github.com/ocishim/ocishim/internal/spectest"
)

func TestDocument(t *testing.T) {
	full, err := spectest.Full()
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		"every field of Linux": marshal(t, full),
		"other platforms": `{"ociVersion":"1.3.0","solaris":{"milestone":"m"},"windows":{"layerFolders":["a"]},
			"vm":{"kernel":{"path":"/k"}},"zos":{"namespaces":[{"type":"pid"}]},"freebsd":{"jail":{"parent":"p"}}}`,
		"twice, and in other letters": `{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"},"devices":[{"path":"/a"},{"path":"/b"}]},
			"Linux":{"SECCOMP":{"flags":["f"]},"devices":[{"path":"/c"}],"resources":{"pids":{"limit":1}}},
			"linux":{"resources":{"memory":{"limit":2}}},"PROCESS":{"cwd":"/","user":{}},"process":{"scheduler":{"policy":"p"}}}`,
		"nothing there": `{"process":null,"linux":{"resources":null,"devices":null,"seccomp":null},"hooks":null,"windows":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			spec, bad := decode([]byte(config))
			if bad != nil {
				t.Fatal(bad)
			}
			checkDecoded(t, []byte(config), spec)
		})
	}
}
