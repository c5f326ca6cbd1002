package request

import (
	"strings"
	"testing"
)

func TestWritable(t *testing.T) {
	for value, want := range map[string]string{
		"true": "tmpfs", "1": "tmpfs", "No": "false", "tmpfs": "tmpfs", "disk": "disk", "tmpfs:4g": "tmpfs:4g", "tmpfs:12%": "tmpfs:12%",
		"tmpfs:100%": "tmpfs:100%", "tmpfs:1048576": "tmpfs:1048576", "tmpfs:2T": "tmpfs:2T",
		"tmpfs:": "", "tmpfs:0": "", "tmpfs:00g": "", "tmpfs:101%": "", "tmpfs:4gg": "", "tmpfs:4g,uid=0": "", "tmpfs:-1": "", "tmpfs:1e3": "",
		"tmpfs:1,mode=0777": "", "disk:4g": "", "DISK": "", "ram": "", "tmpfs:9999999999999": "",
	} {
		var r Request
		err := r.Set("writable", []string{value}, "me")
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "me: ") || r.Writable.Value != ""):
			t.Errorf("%q: %+v, %v", value, r.Writable, err)
		case want != "" && (err != nil || r.Writable != Choice{want, "me"}):
			t.Errorf("%q: %+v, %v", value, r.Writable, err)
		}
	}
}

// Ours wins over pyxis's variables, of which one says the opposite of the other.
func TestReadWritable(t *testing.T) {
	const writable, readonly = "PYXIS_CONTAINER_WRITABLE=", "PYXIS_CONTAINER_READONLY="
	for _, test := range []struct{ annotation, env, want string }{
		{"", "", " by "},
		{"disk", "", "disk by annotation org.ocishim.writable"},
		{"disk", writable + "1", "tmpfs by PYXIS_CONTAINER_WRITABLE"},
		{"disk", readonly + "1", "false by PYXIS_CONTAINER_READONLY"},
		{"", readonly + "0", "tmpfs by PYXIS_CONTAINER_READONLY"},
		{"", writable + "0 " + readonly + "1", "false by PYXIS_CONTAINER_READONLY"},
		{"", writable + "1 " + readonly + "1", "PYXIS_CONTAINER_WRITABLE and PYXIS_CONTAINER_READONLY: both cannot be true"},
		{"", readonly + "perhaps", `PYXIS_CONTAINER_READONLY: expected true or false, not "perhaps"`},
		{"", readonly + "1 OCISHIM_WRITABLE=disk", "disk by OCISHIM_WRITABLE"},
		{"", "OCISHIM_WRITABLE=on", `OCISHIM_WRITABLE: expected true, false, tmpfs, tmpfs:SIZE or disk, not "on"`},
	} {
		r, err := Read(map[string]string{"org.ocishim.writable": test.annotation}, strings.Fields(test.env), true)
		got := r.Writable.Value + " by " + r.Writable.By
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.annotation, test.env, got, test.want)
		}
	}
}
