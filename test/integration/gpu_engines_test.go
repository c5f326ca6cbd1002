//go:build integration

package integration

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// engines: root's containers, as from Docker and Podman, ask by the variable of NVIDIA's toolkit if
// the site allows that. The container's own cgroup then allows exactly what it got.
func (g *gpuCluster) engines(t *testing.T) {
	const dir = "/root/engine"
	data, err := os.ReadFile(g.onHost(bundle("alice", "ro") + "/config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["args"], process["terminal"] = []string{"bash", "-c", "look; cat /dev/nvidia1 /dev/nvidia0 /dev/nvidiactl"}, false
	process["env"] = append(process["env"].([]any), "NVIDIA_VISIBLE_DEVICES=1", "CUDA_VERSION=12.4")
	config["root"] = map[string]any{"path": bundle("alice", "ro") + "/rootfs", "readonly": true}
	data, err = json.Marshal(config)
	if err == nil {
		err = os.MkdirAll(g.onHost(dir), 0o755)
	}
	for path, text := range map[string]string{"/config.json": string(data), "/on.toml": "gpu.engines = true\ngpu.order = \"file\"\n", "/off.toml": ""} {
		if err == nil {
			err = os.WriteFile(g.onHost(dir+path), []byte(text), 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(site string) string {
		// It fails: these devices have no driver.
		out, _ := g.asRoot("unshare", "--mount", "--propagation", "slave", "sh", "-c",
			"/etc/fake-gpus 3 && exec ocishim --config $0 run --bundle "+dir+" by-engine", dir+"/"+site+".toml")
		return out
	}
	off := run("off")
	if l := looks(t, off); len(l) != 1 || len(l[0].there) > 0 || strings.Contains(l[0].driver, "550 from") {
		t.Errorf("by default: %s", off)
	}
	on := run("on")
	if l := looks(t, on); len(l) != 1 || !slices.Equal(l[0].there, []int{1}) || !strings.Contains(l[0].driver, "550 from") {
		t.Errorf("where the site wants it: %s", on)
	}
	for _, want := range []string{"/dev/nvidia1: No such device or address", "/dev/nvidia0: No such file or directory", "/dev/nvidiactl: No such device or address"} {
		if !strings.Contains(on, want) {
			t.Errorf("no %q in %s", want, on)
		}
	}
}
